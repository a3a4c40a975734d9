/** The kinds of subscriptions, with the fields of each. The console's server checks them. */
import * as v from 'valibot';
import { count, host, maybe, object, oneOf, runId, targets, truth, whole } from './fields.js';

/** Where output begins: `stdout` is a terminal's stream too. */
const from = v.union(
  [oneOf(['start', 'end']), object({ tail: count() }), object({ stdout: maybe(count()), stderr: maybe(count()) })],
  'must be start, end, {tail} or offsets by stream',
);
/** Bytes that may be sent ahead; more by `credit`. @default 0 */
const credit = maybe(count());
const mode = maybe(oneOf(['watch', 'control']));

export const SUBSCRIPTIONS = {
  /**
   * The list of hosts, whenever it changes, and the state of those in `watch` (at most 256), asked now and every half a
   * minute. `list` false: only their states.
   */
  hosts: object({ watch: maybe(targets()), list: maybe(truth()) }),
  /** The runs of hosts (at most 64): all of a host, whenever one changes. */
  runs: object({ targets: maybe(targets()), all: maybe(truth()) }),
  /** A run's output, as binary frames, and its events. */
  output: object({ host: host(), runId: runId(), from: maybe(from), credit, mode }),
  /** The same for a run with a terminal. @default from the last 64 KiB */
  terminal: object({
    host: host(),
    runId: runId(),
    from: maybe(from),
    credit,
    mode,
    cols: maybe(whole(1, 65_535)),
    rows: maybe(whole(1, 65_535)),
  }),
  /** A fleet run: first all its hosts, then those that have changed, at most ten times a second. */
  fleet: object({ runId: runId() }),
  /** A host's log as it grows, from its last records on. */
  audit: object({ host: host(), last: maybe(whole(0, 1000)) }),
} as const;

export type Kind = keyof typeof SUBSCRIPTIONS;
/** The fields of a subscription. */
export type Subscribed<K extends Kind> = v.InferOutput<(typeof SUBSCRIPTIONS)[K]>;
