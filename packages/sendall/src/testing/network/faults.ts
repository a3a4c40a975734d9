/**
 * Faults on a link in memory, and the bytes at which they strike. A plan and a seed determine every place: the same
 * seed cuts the same connection at the same byte again. The commands determine the bytes and their timing.
 */
import { createHash } from 'node:crypto';
import { UsageError } from '../../errors.js';

/**
 * Network faults under a link. `…Every: n` draws each distance evenly from 1 to 2n - 1, so n on average, in bytes (or
 * frames) of one direction of one connection; each direction draws its own.
 */
export interface FaultPlan {
  /**
   * Determines the places of all faults below.
   * @default 1
   */
  seed?: number;
  /** Bytes between cuts. A cut link delivers the bytes before that place, and nothing more in either direction. */
  cutEvery?: number;
  /** Each host's first link is cut after exactly this many bytes of one direction. */
  cutAfter?: number;
  /** Bytes until a link goes silent without closing. It stays silent until one side gives it up (pingDeadline). */
  stallEvery?: number;
  /** Each host's first link goes silent after exactly this many bytes of one direction. */
  stallAfter?: number;
  /** Bytes between places where some bytes arrive twice. As with TLS, the link notices and ends. */
  duplicateEvery?: number;
  /** Bytes between places where some bytes arrive before earlier ones. The link notices and ends. */
  reorderEvery?: number;
  /** Frames between whole frames that arrive twice, as a faulty proxy could cause. The link does not notice. */
  duplicateFramesEvery?: number;
  /** Frames between frames that swap places with the next one. The link does not notice. */
  reorderFramesEvery?: number;
  /**
   * Milliseconds that bytes are in transit, or their bounds. Bytes stay in order.
   * @default 0
   */
  delay?: number | { readonly min: number; readonly max: number };
  /**
   * Bytes arrive in pieces of 1 to this many.
   * @default as they were written
   */
  slice?: number;
  /**
   * Share of dials that fail, 0 to 1.
   * @default 0
   */
  unreachable?: number;
}

const NAMES: Record<keyof FaultPlan, true> = {
  seed: true,
  cutEvery: true,
  cutAfter: true,
  stallEvery: true,
  stallAfter: true,
  duplicateEvery: true,
  reorderEvery: true,
  duplicateFramesEvery: true,
  reorderFramesEvery: true,
  delay: true,
  slice: true,
  unreachable: true,
};

/**
 * Checks a plan.
 * @throws UsageError that names the mistake.
 */
export function checkFaults(plan: FaultPlan): FaultPlan {
  for (const name of Object.keys(plan)) if (!(name in NAMES)) throw new UsageError(`there is no fault "${name}"`);
  const { delay, unreachable, seed, ...distances } = plan;
  if (seed !== undefined && !Number.isSafeInteger(seed)) throw new UsageError(`seed: ${seed} is not a whole number`);
  for (const [name, value] of Object.entries(distances))
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= (name.endsWith('After') ? 0 : 1)))
      throw new UsageError(`${name}: ${value} is not a whole number above 0`);
  const { min, max } = typeof delay === 'object' ? delay : { min: delay ?? 0, max: delay ?? 0 };
  if (!(min >= 0 && max >= min)) throw new UsageError(`delay: from ${min} to ${max} milliseconds cannot be`);
  if (unreachable !== undefined && !(unreachable >= 0 && unreachable <= 1))
    throw new UsageError(`unreachable: ${unreachable} is not between 0 and 1`);
  return plan;
}

/** Pseudo-random numbers, the same for the same name. Source: Marsaglia, Xorshift RNGs (2003). */
export class Chance {
  #state: number;

  constructor(name: string) {
    this.#state = createHash('sha256').update(name).digest().readUInt32BE(0) || 1;
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return low + Math.floor((this.#state / 0x1_0000_0000) * (high - low + 1));
  }

  /** A distance of `mean` on average; Infinity without a mean. */
  distance(mean: number | undefined): number {
    return mean === undefined ? Infinity : this.between(1, 2 * mean - 1);
  }
}

export type ByteFault = 'cut' | 'stall' | 'duplicate' | 'reorder';

/** The faults of one direction of one connection. */
export class DirectionFaults {
  readonly chance: Chance;
  readonly slice: number;
  readonly #plan: FaultPlan;
  readonly #places = new Map<ByteFault, number>();
  #toDuplicate: number;
  #toReorder: number;

  /** `name` identifies the direction and the connection. */
  constructor(plan: FaultPlan, name: string, first: boolean) {
    this.#plan = plan;
    this.chance = new Chance(`${plan.seed ?? 1}/${name}`);
    this.slice = plan.slice ?? Infinity;
    const { chance } = this;
    this.#places.set('cut', first && plan.cutAfter !== undefined ? plan.cutAfter : chance.distance(plan.cutEvery));
    this.#places.set(
      'stall',
      first && plan.stallAfter !== undefined ? plan.stallAfter : chance.distance(plan.stallEvery),
    );
    this.#places.set('duplicate', chance.distance(plan.duplicateEvery));
    this.#places.set('reorder', chance.distance(plan.reorderEvery));
    this.#toDuplicate = chance.distance(plan.duplicateFramesEvery);
    this.#toReorder = chance.distance(plan.reorderFramesEvery);
  }

  /** The faults need whole frames. */
  get framewise(): boolean {
    return this.#plan.duplicateFramesEvery !== undefined || this.#plan.reorderFramesEvery !== undefined;
  }

  /** The next fault at or after `offset`, and its place. */
  next(): { fault: ByteFault; at: number } | undefined {
    let nearest: { fault: ByteFault; at: number } | undefined;
    for (const [fault, at] of this.#places)
      if (at !== Infinity && (!nearest || at < nearest.at)) nearest = { fault, at };
    return nearest;
  }

  /** The fault has happened, or could not; draws the next one of its kind. */
  done(fault: ByteFault): void {
    const mean = fault === 'duplicate' ? this.#plan.duplicateEvery : this.#plan.reorderEvery;
    const again = fault === 'duplicate' || fault === 'reorder';
    this.#places.set(fault, again ? this.#places.get(fault)! + this.chance.distance(mean) : Infinity);
  }

  /** What to do with the next frame. */
  frame(): 'duplicate' | 'reorder' | undefined {
    this.#toDuplicate--;
    this.#toReorder--;
    if (this.#toReorder <= 0) {
      this.#toReorder = this.chance.distance(this.#plan.reorderFramesEvery);
      return 'reorder';
    }
    if (this.#toDuplicate > 0) return undefined;
    this.#toDuplicate = this.chance.distance(this.#plan.duplicateFramesEvery);
    return 'duplicate';
  }

  /** Milliseconds the next piece is in transit. */
  delay(): number {
    const { delay } = this.#plan;
    if (delay === undefined) return 0;
    return typeof delay === 'number' ? delay : this.chance.between(delay.min, delay.max);
  }
}
