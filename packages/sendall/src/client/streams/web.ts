/** A Node stream as a Web stream, for a case Node's own adaptor does not cover. */
import type { Writable } from 'node:stream';

/** A WritableStream whose writes resolve when the target has taken them, and whose close waits for the target's end. */
export function toWebWritable(target: Writable): WritableStream<Uint8Array> {
  return new WritableStream({
    write: (chunk) =>
      new Promise((resolve, reject) => target.write(chunk, (error) => (error ? reject(error) : resolve()))),
    close: () => new Promise((resolve) => target.end(resolve)),
    abort: (reason) => void target.destroy(reason instanceof Error ? reason : new Error(String(reason))),
  });
}
