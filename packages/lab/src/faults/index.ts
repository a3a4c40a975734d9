/** All faults, and the order in which they apply. */
import { coalesce } from './coalesce.js';
import { text, type Text } from '../lang.js';
import { corrupt } from './corrupt.js';
import { cutEvery } from './cut-every.js';
import type { Direction, Fault } from './fault.js';
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
  /** Milliseconds of delay. */
  latency?: number | undefined;
  /** Upper limit of a random delay, in milliseconds. */
  jitter?: number | undefined;
  /** Bytes a second. */
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

/** Faults of both directions, and those of one direction, which take their place there. */
export interface DirectedFaultOptions extends FaultOptions {
  up?: FaultOptions | undefined;
  down?: FaultOptions | undefined;
}

/** The faults of each direction. */
export type DirectedFaults = Readonly<Record<Direction, readonly Fault[]>>;

/** The chosen faults of each direction, in order. */
export function directedFaults({ up, down, ...both }: DirectedFaultOptions): DirectedFaults {
  return { up: faults({ ...both, ...up }), down: faults({ ...both, ...down }) };
}

/** The faults of both directions together, each with its name and a sentence. */
export function describeFaults({ up, down }: DirectedFaults): { name: string; description: Text }[] {
  const told = (fault: Fault) => fault.description.en;
  const there = new Set(up.map(told));
  const back = new Set(down.map(told));
  return [
    ...up.map((fault) =>
      back.has(told(fault)) || fault.name === 'half-close' ? fault : oneWay(fault, 'to the server', '发往服务端'),
    ),
    ...down.filter((fault) => !there.has(told(fault))).map((fault) => oneWay(fault, 'to the client', '发往客户端')),
  ];
}

function oneWay({ name, description }: Fault, en: string, zh: string): { name: string; description: Text } {
  return { name, description: text(`${description.en} (${en})`, `${description.zh}（${zh}）`) };
}

/** The names of all faults, in the order in which they apply. */
const order = [
  'corrupt',
  'coalesce',
  'stall',
  'throttle',
  'latency',
  'jitter',
  'half-close',
  'slice',
  'cut-every',
  'reset-after',
];

/** Sorts faults from several sources into the order in which they apply. */
export function inFaultOrder(some: readonly Fault[]): Fault[] {
  return some.toSorted((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
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
