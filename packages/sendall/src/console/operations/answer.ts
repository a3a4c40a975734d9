/** What answers an operation. */
import type { Context } from '../context.js';
import type { Asked, Operation, Value } from '../messages.js';
import type { Subscription } from '../subscription.js';

/** The page that asks. */
export interface Asker {
  /** Its subscription of this number. */
  subscription(sub: number): Subscription | undefined;
  /** It came by an address for watching. */
  readonly onlyWatches: boolean;
  /** Aborts when it has gone: nothing waits for the answer. */
  readonly signal: AbortSignal;
}

/** Answers an operation, or throws. */
export type Answer<O extends Operation> = (asked: Asked<O>, context: Context, asker: Asker) => Promise<Value<O>>;
