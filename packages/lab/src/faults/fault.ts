/** The interface of a fault: a stage that the pieces of one direction pass through. */
import type { Text } from '../lang.js';
import type { Random } from './random.js';

/** `up`: from the client to the server; `down`: back. */
export type Direction = 'up' | 'down';

/** Actions of a fault besides passing bytes on. */
export interface FaultContext {
  readonly direction: Direction;
  /** Random numbers for this fault, connection and direction only; the same seed repeats them. */
  readonly random: Random;
  /** Reports an action of the fault, and after how many bytes of this direction. */
  readonly note: (what: string, afterBytes: number) => void;
  /** Ends the connection on both sides with a FIN; unsent bytes are lost. */
  readonly cut: () => void;
  /** Ends the connection on both sides with a RST. */
  readonly reset: () => void;
  /** Resolves after this many milliseconds, or at once when other faults take over. */
  readonly wait: (ms: number) => Promise<void>;
}

/** Turns the pieces of one direction into other pieces: delayed, cut differently, dropped or altered. */
export type Stage = (pieces: AsyncIterable<Buffer>) => AsyncIterable<Buffer>;

/**
 * One kind of damage that networks do. To add a fault, add a file with one of these and a line in `faults/index.ts`.
 */
export interface Fault {
  readonly name: string;
  /** Its effect, with its numbers, in one line. */
  readonly description: Text;
  /** The share of connections that have it, 0 to 1. @default 1 */
  readonly share?: number;
  stage(context: FaultContext): Stage;
}
