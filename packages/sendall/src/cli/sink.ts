/**
 * A file descriptor of ours as a stream that never blocks the loop: a reader that takes its time (`| less`) must not
 * make us deaf to the host. Node's own process.stdout writes to pipes synchronously.
 */
import { write } from 'node:fs';
import { Writable } from 'node:stream';

const RETRY_MS = 5;

export function descriptorSink(fd: number): Writable {
  return new Writable({
    highWaterMark: 1024 * 1024,
    decodeStrings: true,
    write: (chunk: Buffer, _encoding, done) => writeAll(fd, chunk, done),
    writev: (chunks, done) => writeAll(fd, Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), done),
  });
}

function writeAll(fd: number, bytes: Buffer, done: (error?: Error | null) => void): void {
  write(fd, bytes, 0, bytes.length, null, (error, written) => {
    // Someone who shares the descriptor made it non-blocking.
    if (error?.code === 'EAGAIN') setTimeout(() => writeAll(fd, bytes, done), RETRY_MS);
    else if (error) done(error);
    else if (written < bytes.length) writeAll(fd, bytes.subarray(written), done);
    else done();
  });
}
