/** The reads of a socket, one by one. */
import type { Socket } from 'node:net';

/** Reads that may wait before the socket is paused: enough to see a burst, too few to hold a stream. */
const MOST_WAITING = 16;

/**
 * The bytes of each read of a socket, one by one. (Iterating a socket directly joins reads that have piled up.) Ends at
 * the end of the stream; throws the socket's error.
 */
export async function* reads(socket: Socket): AsyncGenerator<Buffer, void, void> {
  const waiting: Buffer[] = [];
  let ended = false;
  let error: Error | undefined;
  let wake: (() => void) | undefined;
  const onData = (chunk: Buffer) => {
    waiting.push(chunk);
    if (waiting.length >= MOST_WAITING) socket.pause();
    wake?.();
  };
  const onEnd = () => {
    ended = true;
    wake?.();
  };
  const onError = (caught: Error) => {
    error = caught;
    wake?.();
  };
  socket.on('data', onData).on('end', onEnd).on('close', onEnd).on('error', onError);
  try {
    for (;;) {
      const chunk = waiting.shift();
      if (chunk) {
        yield chunk;
        continue;
      }
      if (error) throw error;
      if (ended) return;
      socket.resume();
      await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    socket.off('data', onData).off('end', onEnd).off('close', onEnd).off('error', onError);
  }
}
