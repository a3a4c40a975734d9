/** What tells one state of a file from another, at the price of a `stat`. */
import { statSync } from 'node:fs';

/**
 * The file's inode, size and times as one text, or undefined when there is none. While it stays the same, what was read
 * of the file holds.
 */
export function stampOf(path: string): string | undefined {
  const info = statSync(path, { bigint: true, throwIfNoEntry: false });
  return info && `${info.dev} ${info.ino} ${info.size} ${info.mtimeNs} ${info.ctimeNs}`;
}
