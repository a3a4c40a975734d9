/** All faults, and the order in which they apply. */
import { coalesce } from './coalesce.js';
import { corrupt } from './corrupt.js';
import { cutEvery } from './cut-every.js';
import type { Fault } from './fault.js';
import { halfClose } from './half-close.js';
import { jitter } from './jitter.js';
import { latency } from './latency.js';
import { resetAfter } from './reset-after.js';
import { slice } from './slice.js';
import { stall } from './stall.js';
import { throttle } from './throttle.js';

export type { Direction, Fault, FaultContext, Stage } from './fault.js';

/** The chosen faults, with their numbers. */
export interface FaultOptions {
  /** The most bytes of a write. */
  slice?: number | undefined;
  /** Milliseconds of bytes joined into one write. */
  coalesce?: number | undefined;
  /** Milliseconds of delay in each direction. */
  latency?: number | undefined;
  /** Upper limit of a random delay, in milliseconds. */
  jitter?: number | undefined;
  /** Bytes a second in each direction. */
  throttle?: number | undefined;
  /** The probability of a flipped bit in a byte, 0 to 1. */
  corrupt?: number | undefined;
  /** Milliseconds of each pause. */
  stall?: number | undefined;
  /** Bytes of one direction after which a connection is cut. */
  cutEvery?: number | undefined;
  /** Bytes of one direction after which a connection is reset. */
  resetAfter?: number | undefined;
  /** Ends the client's side after its first piece. */
  halfClose?: boolean | undefined;
}

/**
 * The chosen faults, in order: first those that alter bytes, then those that delay them, then slicing (so that nothing
 * joins the slices again), and last the faults that end the connection, which therefore count the bytes really written.
 */
export function faults(options: FaultOptions): Fault[] {
  const make: (Fault | undefined)[] = [
    options.corrupt ? corrupt(options.corrupt) : undefined,
    options.coalesce ? coalesce(options.coalesce) : undefined,
    options.stall ? stall(options.stall) : undefined,
    options.throttle ? throttle(options.throttle) : undefined,
    options.latency ? latency(options.latency) : undefined,
    options.jitter ? jitter(options.jitter) : undefined,
    options.halfClose ? halfClose() : undefined,
    options.slice ? slice(options.slice) : undefined,
    options.cutEvery ? cutEvery(options.cutEvery) : undefined,
    options.resetAfter ? resetAfter(options.resetAfter) : undefined,
  ];
  return make.filter((fault) => fault !== undefined);
}
