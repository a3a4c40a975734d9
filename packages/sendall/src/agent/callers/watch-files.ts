/**
 * Tells when files may have changed. A hint, which makes a change count at once; it may come twice, or late.
 *
 * The files are watched and not their folder: the journal may be in the same folder, and each of its writes would wake
 * the agent. A watch belongs to the file that had the name, so each event begins a new one.
 */
import { unwatchFile, watch, watchFile, type FSWatcher, type Stats } from 'node:fs';

/** Milliseconds between looks at a file that does not exist, or that cannot be watched: no watches are left. */
const LOOKS = 2000;

/** Calls `changed` with the path of a file. Returns what ends it. */
export function watchFiles(paths: readonly string[], changed: (path: string) => void): () => void {
  const ends = paths.map((path) => watchOne(path, () => changed(path)));
  return () => ends.forEach((end) => end());
}

function watchOne(path: string, changed: () => void): () => void {
  let watcher: FSWatcher | undefined;
  const begin = (): void => {
    end();
    try {
      watcher = watch(path, { persistent: false }, again).on('error', poll);
    } catch {
      poll();
    }
  };
  // The new watch comes first: what changes behind it is told again.
  const again = (): void => {
    begin();
    changed();
  };
  const poll = (): void => {
    end();
    watchFile(path, { persistent: false, interval: LOOKS }, looked);
  };
  // A missing file is told once, too.
  const looked = (now: Stats, before: Stats): void => {
    if (now.nlink || before.nlink) again();
  };
  const end = (): void => {
    watcher?.close();
    watcher = undefined;
    unwatchFile(path, looked);
  };
  begin();
  return end;
}
