/** What a fault is: a stage that pieces of one direction pass through. */
import type { Text } from '../lang.js';
import type { Random } from './random.js';

/** From the client to the server is `up`, back is `down`. */
export type Direction = 'up' | 'down';

/** What a fault may do beside passing bytes on. */
export interface FaultContext {
  readonly direction: Direction;
  /** Numbers for this fault, connection and direction only; the same seed repeats them. */
  readonly random: Random;
  /** Reports what the fault did, and after how many bytes of this direction. */
  readonly note: (what: string, afterBytes: number) => void;
  /** Ends the connection on both sides with a FIN; unsent bytes are lost. */
  readonly cut: () => void;
  /** Ends the connection on both sides with a RST. */
  readonly reset: () => void;
}

/** Takes the pieces of one direction and returns pieces: delayed, cut differently, dropped or altered, as the fault says. */
export type Stage = (pieces: AsyncIterable<Buffer>) => AsyncIterable<Buffer>;

/** One thing that networks do to bytes. A new fault is a file with one of these, and a line in `faults/index.ts`. */
export interface Fault {
  readonly name: string;
  /** What it does, with its numbers, in one line. */
  readonly description: Text;
  stage(context: FaultContext): Stage;
}
