/** Tells one state of a file from another at the cost of a `stat`. */
import { statSync } from 'node:fs';

/**
 * The file's inode, size and times as one text, or undefined if the file does not exist. While it stays the same, so does
 * the file's content.
 */
export function stampOf(path: string): string | undefined {
  const info = statSync(path, { bigint: true, throwIfNoEntry: false });
  return info && `${info.dev} ${info.ino} ${info.size} ${info.mtimeNs} ${info.ctimeNs}`;
}
