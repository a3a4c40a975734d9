/** How a command is read from a stream that does not mark its end. */
import type { Line } from './line.js';
import { whyRefuse } from './refuse.js';

/** The most bytes of one command. */
export const LARGEST_COMMAND = 1 << 16;
/** What the tutorial's `recv(1024)` can hold: a command up to this size ends with its read, as in the tutorial. */
const TUTORIAL_BUFFER = 1024;
/** A longer one may come in several reads (one segment each); its rest follows within this time. */
const PATIENCE_MS = 20;

/** The connection ends here, and nothing of what came was run. */
export class CommandRefusedError extends Error {
  override readonly name = 'CommandRefusedError';
}

/**
 * The next command: nothing in these protocols marks its end, so it ends with the read that brings it. `null` at the end
 * of the stream.
 * @throws CommandRefusedError for what must not be run
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
