/** Tells when files of a folder may have changed. A hint, which makes a change count at once; it may come twice, or late. */
import { unwatchFile, watch, watchFile, type FSWatcher } from 'node:fs';
import { join } from 'node:path';

/** Milliseconds between looks where the system has no watches left. */
const LOOKS = 5000;

/** Calls `changed` with a file's name. Returns what ends it. */
export function watchFiles(folder: string, names: readonly string[], changed: (name: string) => void): () => void {
  let watcher: FSWatcher | undefined;
  let isPolled = false;
  const poll = (): void => {
    watcher?.close();
    if (isPolled) return;
    isPolled = true;
    for (const name of names)
      watchFile(join(folder, name), { persistent: false, interval: LOOKS }, () => changed(name));
  };
  try {
    watcher = watch(folder, { persistent: false }, (_, name) => {
      if (name === null) for (const each of names) changed(each);
      else if (names.includes(name)) changed(name);
    });
    watcher.on('error', poll);
  } catch {
    poll();
  }
  return () => {
    watcher?.close();
    if (isPolled) for (const name of names) unwatchFile(join(folder, name));
    isPolled = true;
  };
}
