/** Trying a run again: which runs may be, and how often. */
import { UsageError } from '../../errors.js';
import { readDuration, type Duration } from '../../text/duration.js';
import { callback, duration, either, objectOf, whole, type Rule } from './check.js';
import type { Result } from '../result/result.js';

/** Further tries, or how many, after which pause, and for which results. */
export type Retry =
  | number
  | {
      readonly times: number;
      /**
       * Milliseconds before each further try.
       * @default 0
       */
      readonly delay?: Duration | undefined;
      /**
       * Whether this result is worth another try; `tries` is the number made. Called only when another try is allowed.
       * @default every result except a refusal for any reason but "busy"
       */
      readonly when?: ((result: Result, tries: number) => boolean | Promise<boolean>) | undefined;
    };

/** The allowed values of `retry`. */
export const retryRule: Rule = either(
  whole('further tries'),
  objectOf({ times: whole('further tries'), delay: duration, when: callback }, 'times'),
);

export interface PreparedRetry {
  readonly times: number;
  readonly delayMs: number;
  readonly when: (result: Result, tries: number) => boolean | Promise<boolean>;
}

/** @throws UsageError for a run that cannot be repeated unchanged. */
export function prepareRetry(
  retry: Retry | undefined,
  options: {
    readonly runId?: unknown;
    readonly stdin?: unknown;
    readonly stdout?: unknown;
    readonly stderr?: unknown;
    readonly capture?: unknown;
  },
): PreparedRetry | undefined {
  const { times, delay, when = worthIt } = typeof retry === 'object' ? retry : { times: retry ?? 0 };
  if (times === 0) return undefined;
  const { runId, stdin, capture } = options;
  if (runId !== undefined) throw new UsageError('retry: each try has a run id of its own, so leave out runId');
  if (stdin === 'pipe' || (typeof stdin === 'object' && !(stdin instanceof Uint8Array)))
    throw new UsageError('retry: a stream can be read once, so give stdin as text or bytes');
  if (capture === 'exact' || capture === 'ordered')
    throw new UsageError('retry: records cannot be taken back, so leave out capture');
  for (const stream of ['stdout', 'stderr'] as const)
    if (![undefined, 'pipe', 'ignore'].includes(options[stream] as string | undefined))
      throw new UsageError(`retry: what was written cannot be taken back, so leave out ${stream}`);
  return { times, delayMs: readDuration(delay) ?? 0, when };
}

/** True if the run certainly never started or is declared idempotent, and the caller did not end it. */
export function mayRepeat({ outcome, ok }: Result, started: boolean, idempotent: boolean): boolean {
  if (ok || outcome === 'cancelled' || outcome === 'conflict' || outcome === 'rewritten') return false;
  return idempotent || (!started && ['unreachable', 'refused', 'expired'].includes(outcome));
}

const worthIt = ({ outcome, refusal }: Result): boolean => outcome !== 'refused' || refusal === 'busy';
