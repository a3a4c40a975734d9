/** Reads of a file at a position, off the main thread. */
import { read } from 'node:fs';

/** Reads as much as there is and fits; 0 at the end. */
export const readAt = (fd: number, into: Buffer, position: number): Promise<number> =>
  new Promise((resolve, reject) =>
    read(fd, into, 0, into.length, position, (error, length) => (error ? reject(error) : resolve(length))),
  );
