/** What a fault is: a stage that pieces of one direction pass through. */
import type { Text } from '../lang.js';
import type { Random } from './random.js';

/** From the client to the server is `up`, back is `down`. */
export type Direction = 'up' | 'down';

/** What a fault may do beside passing bytes on. */
export interface FaultContext {
  readonly direction: Direction;
  /** Numbers of this fault, connection and direction alone: the same seed repeats them. */
  readonly random: Random;
  /** Says what was done, and after how many bytes of this direction. */
  readonly note: (what: string, afterBytes: number) => void;
  /** Ends the connection on both sides: a FIN each, what was not sent is lost. */
  readonly cut: () => void;
  /** Ends the connection on both sides with a RST. */
  readonly reset: () => void;
}

/** Takes pieces of one direction and gives pieces: later, cut otherwise, fewer, altered - as the fault says, no other way. */
export type Stage = (pieces: AsyncIterable<Buffer>) => AsyncIterable<Buffer>;

/** One thing that networks do to bytes. A new fault is a file with one of these, and a line in `faults/index.ts`. */
export interface Fault {
  readonly name: string;
  /** What it does, with its numbers, in one line. */
  readonly description: Text;
  stage(context: FaultContext): Stage;
}
