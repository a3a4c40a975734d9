/**
 * Opens the page in the user's browser. Other users can read the words of a process, so the browser gets the path of a
 * file that only this user can read; the file leads to the page with a one-time code.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The program that opens a file in a browser; undefined where there is no screen. */
function opener({ env, platform }: NodeJS.Process): string | undefined {
  if (platform === 'darwin') return env.SSH_CONNECTION ? undefined : 'open';
  return env.DISPLAY || env.WAYLAND_DISPLAY ? 'xdg-open' : undefined;
}

/** Milliseconds for which the file stays: as long as the code in it is good. */
const FILE_MS = 60_000;

/**
 * Opens the address in the browser, where there is one. Dispose of it to remove the file. The address has no character
 * that means something in HTML.
 */
export function openInBrowser(newLink: () => string): Disposable | undefined {
  const program = opener(process);
  if (program === undefined) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'sendall-console-'));
  const path = join(folder, 'open.html');
  const page = `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=${newLink()}">\n`;
  writeFileSync(path, page, { mode: 0o600, flag: 'wx' });
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  const later = setTimeout(remove, FILE_MS).unref();
  const child = spawn(program, [path], { stdio: 'ignore', detached: true });
  // The address was printed: people can open it.
  child.once('error', remove);
  child.unref();
  return {
    [Symbol.dispose]: () => {
      clearTimeout(later);
      remove();
    },
  };
}
