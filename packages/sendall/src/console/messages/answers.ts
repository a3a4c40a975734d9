/** The value of each operation's answer. The page checks them. */
import type * as v from 'valibot';
import {
  count,
  group,
  hostRow,
  list,
  listing,
  maybe,
  number,
  object,
  oneOf,
  pastRun,
  record,
  report,
  result,
  silent,
  stream,
  text,
  truth,
  verdictOnRun,
} from './fields.js';
import type { Operation } from './operations.js';

const nothing = object({});
const batch = object({ hosts: text(), size: count() });

export const ANSWERS = {
  hosts: object({ hosts: list(hostRow), words: list(text()), problem: maybe(text()) }),
  resolve: object({ count: count(), folded: text(), names: list(text()) }),
  explain: object({
    count: count(),
    folded: text(),
    batches: list(batch),
    canary: maybe(count()),
    window: count(),
    maxFail: maybe(count()),
    /** "all": the caller is an owner there, and no rule is asked. */
    policy: list(
      object({
        host: text(),
        principal: maybe(text()),
        roles: list(text()),
        may: oneOf(['all', 'allow', 'deny', 'unknown']),
        sentence: text(),
        rule: maybe(text()),
      }),
    ),
  }),
  run: object({ kind: oneOf(['run', 'fleet']), runId: text(), host: maybe(text()), count: count(), folded: text() }),
  runs: object({ runs: list(listing), silent: list(silent), cut: truth() }),
  history: object({ runs: list(pastRun), next: maybe(text()), damaged: count() }),
  runInfo: object({ listing: maybe(listing), result: maybe(result), fleet: maybe(text()) }),
  fleetInfo: object({ run: pastRun }),
  signal: report,
  kill: object({ reports: list(report), silent: list(silent) }),
  forget: object({ silent: list(silent) }),
  again: object({ runId: text(), count: count(), folded: text() }),
  groups: object({ groups: list(group), others: count(), pending: count() }),
  diff: object({
    majority: maybe(group),
    others: list(
      object({
        group,
        changes: list(
          object({
            stream: stream(),
            lines: list(object({ kind: oneOf(['same', 'added', 'removed']), text: text() })),
            /** Not all of it is compared, as it is long. */
            cut: truth(),
          }),
        ),
      }),
    ),
  }),
  search: object({
    hits: list(object({ offset: count(), line: text() })),
    /** Where to go on; undefined: all was searched. */
    next: maybe(count()),
  }),
  download: object({ path: text(), name: text() }),
  watchLink: object({ url: text() }),
  /** `withdrawn`: there was one. */
  withdrawLink: object({ withdrawn: truth() }),
  policy: object({
    file: text(),
    sha256: maybe(text()),
    rules: list(
      object({
        id: text(),
        line: number(),
        who: list(text()),
        verbs: list(text()),
        runAs: maybe(text()),
        command: maybe(text()),
        trustsProgram: truth(),
      }),
    ),
    problems: list(object({ line: number(), what: text() })),
    findings: list(object({ rule: text(), line: number(), kind: text(), what: text() })),
    verbs: list(text()),
  }),
  policyTest: verdictOnRun,
  audit: object({ records: list(record), size: maybe(count()), next: maybe(count()) }),
  auditVerify: object({
    ok: truth(),
    isolation: oneOf(['none', 'root']),
    size: count(),
    root: text(),
    checked: count(),
    against: list(object({ pin: text(), size: count(), consistent: truth() })),
    problems: list(object({ index: count(), kind: text() })),
  }),
  take: nothing,
  release: nothing,
  stdin: nothing,
  resize: nothing,
} as const satisfies Readonly<Record<Operation, v.GenericSchema>>;

/** The value of an operation's answer. */
export type Value<O extends Operation> = v.InferOutput<(typeof ANSWERS)[O]>;
