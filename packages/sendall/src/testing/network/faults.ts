/**
 * What goes wrong on a link in memory, and at which byte. A plan and a seed place every fault: the same seed cuts the
 * same connection at the same byte again. What the bytes are and when they come is up to the commands.
 */
import { createHash } from 'node:crypto';
import { UsageError } from '../../errors.js';

/**
 * Faults of the network under a link. `…Every: n` draws each distance evenly from 1 to 2n - 1, so that it is n on
 * average; it counts the bytes (or frames) of one direction of one connection, and each direction draws its own.
 */
export interface FaultPlan {
  /**
   * Places everything below.
   * @default 1
   */
  seed?: number;
  /** Bytes between cuts. A cut link delivers what came before that byte, and nothing more in either direction. */
  cutEvery?: number;
  /** Each host's first link is cut after exactly this many bytes of one direction. */
  cutAfter?: number;
  /** Bytes until a link goes silent without closing. It stays so until one side gives it up (pingDeadline). */
  stallEvery?: number;
  /** Each host's first link goes silent after exactly this many bytes of one direction. */
  stallAfter?: number;
  /** Bytes between places where some bytes come twice. As TLS would, the link notices and ends. */
  duplicateEvery?: number;
  /** Bytes between places where some bytes come before the ones that they follow. The link notices and ends. */
  reorderEvery?: number;
  /** Frames between frames that come twice, whole: what a faulty process in between could do. The link does not notice. */
  duplicateFramesEvery?: number;
  /** Frames between frames that change places with the next one. The link does not notice. */
  reorderFramesEvery?: number;
  /**
   * Milliseconds that bytes are under way, or the bounds of it. They keep their order.
   * @default 0
   */
  delay?: number | { readonly min: number; readonly max: number };
  /**
   * Bytes come in pieces of 1 to this many.
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
 * @throws UsageError that names what is wrong.
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

/** Numbers that look random and are the same for the same name. Source: Marsaglia, Xorshift RNGs (2003). */
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

  /** A distance that is `mean` on average; Infinity when there is none. */
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

  /** `name` says which direction of which connection this is. */
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

  /** Frames have to be told apart. */
  get framewise(): boolean {
    return this.#plan.duplicateFramesEvery !== undefined || this.#plan.reorderFramesEvery !== undefined;
  }

  /** The next fault in the bytes from `offset` on, and where it is. */
  next(): { fault: ByteFault; at: number } | undefined {
    let nearest: { fault: ByteFault; at: number } | undefined;
    for (const [fault, at] of this.#places)
      if (at !== Infinity && (!nearest || at < nearest.at)) nearest = { fault, at };
    return nearest;
  }

  /** That fault has happened, or could not; the next one of its kind comes later. */
  done(fault: ByteFault): void {
    const mean = fault === 'duplicate' ? this.#plan.duplicateEvery : this.#plan.reorderEvery;
    const again = fault === 'duplicate' || fault === 'reorder';
    this.#places.set(fault, again ? this.#places.get(fault)! + this.chance.distance(mean) : Infinity);
  }

  /** What happens to the next frame. */
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

  /** Milliseconds that the next piece is under way. */
  delay(): number {
    const { delay } = this.#plan;
    if (delay === undefined) return 0;
    return typeof delay === 'number' ? delay : this.chance.between(delay.min, delay.max);
  }
}
