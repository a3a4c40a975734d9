import type { Line } from './line.js';
import { whyRefuse } from './refuse.js';

/** The most that is taken for one command. */
export const largestCommand = 1 << 16;
/** What the tutorial's `recv(1024)` can hold: a command up to this size ends with its read, as history has it. */
const tutorialBuffer = 1024;
/** A longer one may come in several reads (one segment each); its rest follows within this time. */
const patienceMs = 20;

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
  while (command.length > tutorialBuffer && command.length <= largestCommand) {
    const more = await line.readWithin(patienceMs);
    if (more === null || more === 'quiet') break;
    command = Buffer.concat([command, more]);
  }
  if (command.length > largestCommand) {
    throw new CommandRefusedError(`a command of more than ${largestCommand} bytes is not run`);
  }
  const reason = whyRefuse(command);
  if (reason !== undefined) throw new CommandRefusedError(`not run: ${reason}`);
  return command.toString();
}
