/** How a sender reads its files: alone, or through what several senders of the same files share. */
import { readAt } from '../files/read-at.js';

/** Reads files for senders. One that is shared lets many of them read each block once. */
export interface Reads {
  /**
   * Reads from `position` on, as much as there is and fits.
   * @param id names the content: files with the same id are the same
   * @returns how many bytes; 0 at the end
   */
  read(fd: number, id: string, position: number, into: Buffer): Promise<number>;
  /** SHA-256 of the whole content, if it is known. */
  sum?(id: string): Buffer | undefined;
  /** Keeps it. */
  keepSum?(id: string, sha256: Buffer): void;
}

export const plainReads: Reads = { read: (fd, _id, position, into) => readAt(fd, into, position) };
