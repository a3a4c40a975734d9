/** Reads a command from a stream that does not mark its end. */
import type { Line } from './line.js';
import { whyRefuse } from './refuse.js';

/** The most bytes of one command. */
export const LARGEST_COMMAND = 1 << 16;
/** The size of the tutorial's `recv(1024)`: a command up to this size ends with its read, as in the tutorial. */
const TUTORIAL_BUFFER = 1024;
/** Milliseconds to wait for the rest of a longer command, which may arrive in several reads (one for each segment). */
const PATIENCE_MS = 20;

/** The connection ends here, and the received bytes are not run. */
export class CommandRefusedError extends Error {
  override readonly name = 'CommandRefusedError';
}

/**
 * The next command. These protocols do not mark its end, so it ends with the read that brings it. `null` at the end of
 * the stream.
 * of the stream.
 * @throws CommandRefusedError for a command that must not be run
 */
export async function readCommand(line: Line): Promise<string | null> {
  let command = await line.read();
  if (command === null) return null;
  while (command.length > TUTORIAL_BUFFER && command.length <= LARGEST_COMMAND) {
    const more = await line.readWithin(PATIENCE_MS);
    if (more === null || more === 'quiet') break;
    command = Buffer.concat([command, more]);
  }
  if (command.length > LARGEST_COMMAND) {
    throw new CommandRefusedError(`a command of more than ${LARGEST_COMMAND} bytes is not run`);
  }
  const reason = whyRefuse(command);
  if (reason !== undefined) throw new CommandRefusedError(`not run: ${reason}`);
  return command.toString();
}
