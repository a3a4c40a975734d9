/** The parts of the console's messages: numbers, names, words; the shapes of hosts, runs and results. */
import * as v from 'valibot';

/** Most characters of a name, an address or a set of hosts that the page sends. */
const LONGEST_NAME = 65_536;
/** Most words of a command; their bytes are limited by the size of a message. */
const MOST_WORDS = 16_384;

// An error's text is about a value; the field's name precedes it.

export const whole = (least: number, most: number) => {
  const rule = `must be a whole number from ${least} to ${most}`;
  return v.pipe(v.number(rule), v.integer(rule), v.minValue(least, rule), v.maxValue(most, rule));
};
export const count = () => whole(0, Number.MAX_SAFE_INTEGER);
export const number = () => v.number('must be a number');
export const truth = () => v.boolean('must be true or false');
export const text = () => v.string('must be text');
export const name = () =>
  v.pipe(
    text(),
    v.nonEmpty('must not be empty'),
    v.maxLength(LONGEST_NAME, `has more than ${LONGEST_NAME} characters`),
  );
export const oneOf = <const T extends readonly string[]>(names: T) =>
  v.picklist(names, `must be one of ${names.join(', ')}`);
export const list = <const T extends v.GenericSchema>(each: T) => v.pipe(v.array(each, 'must be a list'), v.readonly());
export const words = () =>
  v.pipe(
    v.array(text(), 'must be a list of words'),
    v.maxLength(MOST_WORDS, `has more than ${MOST_WORDS} words`),
    v.readonly(),
  );
/** Values by name. Every name counts: `v.record` would leave "constructor" and "prototype" out without a word. */
export const map = <const T extends v.GenericSchema>(each: T) =>
  v.pipe(
    v.custom<Record<string, unknown>>(
      (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
      'must be an object of values by name',
    ),
    v.transform((values) => Object.entries(values)),
    v.array(v.tuple([v.string(), each])),
    v.transform((pairs) => Object.fromEntries(pairs) as Record<string, v.InferOutput<T>>),
  );
export const maybe = <const T extends v.GenericSchema>(schema: T) => v.optional(schema);
const objectRule = (issue: { expected: string | null; received: string }): string =>
  issue.expected === 'never'
    ? 'is not known here'
    : issue.received === 'undefined'
      ? 'is missing'
      : 'must be an object';
export const object = <const T extends v.ObjectEntries>(entries: T) => v.strictObject(entries, objectRule);

/** The number of a request, and of the subscription that it began. */
export const id = whole(1, 2 ** 32 - 1);
/** Milliseconds, or text such as "30s". */
export const duration = () =>
  v.union([whole(0, 2 ** 31 - 1), v.pipe(v.string(), v.maxLength(32))], 'must be a time such as 30s, or milliseconds');
export const share = () =>
  v.union(
    [whole(0, 1_000_000), v.pipe(v.string(), v.regex(/^\d{1,3}(\.\d{1,9})?%$/))],
    'must be a number of hosts, or a share such as 25%',
  );
export const base64 = () => v.pipe(text(), v.base64('must be base64'));
/** A node set in the notation of targets: web[01-20], @group, k=v, a,b, !x. */
export const targets = () => name();
export const host = () => name();
export const runId = () => v.pipe(text(), v.regex(/^[0-9a-f-]{8,36}$/, 'must be a run id'));
export const stream = () => oneOf(['stdout', 'stderr']);

// ---- what is told

/** A host of the lists. */
export const hostRow = object({
  name: text(),
  url: text(),
  pin: maybe(text()),
  tags: map(text()),
  /** The files that name it. */
  from: list(text()),
  addedAt: maybe(text()),
});

export const survivor = object({ pid: number(), argv: list(text()) });
/** What a signal or a kill did. */
export const report = object({
  host: text(),
  runId: text(),
  result: text(),
  signalled: list(number()),
  survivors: list(survivor),
  /** "cgroup": certainly the whole tree; "unproven": every process that could be seen. */
  proof: maybe(text()),
});

export const gap = object({ stream: stream(), from: count(), to: count(), reason: text() });
export const outcome = () =>
  oneOf([
    'ok',
    'failed',
    'signalled',
    'timeout',
    'idle',
    'cancelled',
    'limits',
    'refused',
    'unreachable',
    'expired',
    'lost',
    'truncated',
    'conflict',
    'rewritten',
  ]);
export const result = object({
  host: text(),
  runId: text(),
  outcome: outcome(),
  code: maybe(number()),
  signal: maybe(text()),
  cause: maybe(text()),
  /** A sentence for people. */
  reason: text(),
  refusal: maybe(text()),
  stdoutBytes: count(),
  stderrBytes: count(),
  startMs: maybe(number()),
  endMs: maybe(number()),
  durationMs: number(),
  gaps: list(gap),
  survivors: list(survivor),
  killProof: maybe(text()),
});

/** A run in a host's list; times are milliseconds since the epoch. */
export const listing = object({
  runId: text(),
  host: text(),
  state: text(),
  name: maybe(text()),
  argv: list(text()),
  pid: maybe(number()),
  openedMs: number(),
  startMs: maybe(number()),
  endMs: maybe(number()),
  code: maybe(number()),
  signal: maybe(text()),
  cause: maybe(text()),
  reason: maybe(text()),
  /** It waits: "stdout" or "stderr" for a reader, "disk" for room. */
  blocked: maybe(text()),
  attached: count(),
  controlled: truth(),
  stdoutBytes: count(),
  stderrBytes: count(),
  tags: list(text()),
});

/** A run in the history of what was started from here. */
export const pastRun = object({
  runId: text(),
  name: maybe(text()),
  beginMs: number(),
  closedMs: maybe(number()),
  /** `running`: its caller lives. `left`: its caller left, and commands went on. `lost`: its caller was killed. */
  stage: oneOf(['running', 'left', 'lost', 'ended']),
  /** The hosts, folded, or the first part of that text. */
  hosts: text(),
  total: count(),
  /** A run on a set of hosts, even of one. */
  fleet: truth(),
  /** Of a fleet run; its arguments are not kept. */
  program: maybe(text()),
  /** This console started it and has its words: it can be run again. */
  repeatable: truth(),
  /** Hosts by state: an outcome, or waiting, running, neverStarted. */
  counts: map(count()),
});

/** A host that did not answer a question. */
export const silent = object({ host: text(), code: text(), message: text() });

/** One stream of a group: how long it is, and its beginning. */
export const sample = object({
  bytes: count(),
  /** The first bytes; undefined when they are not kept. */
  base64: maybe(text()),
});

/** Hosts with the same end and the same output. */
export const group = object({
  /** Folded. */
  hosts: text(),
  size: count(),
  outcome: outcome(),
  code: maybe(number()),
  signal: maybe(text()),
  reason: text(),
  stdout: sample,
  stderr: sample,
});

/** Where a host of a fleet run stands. */
export const hostStatus = object({
  host: text(),
  /** The command's id on this host. */
  runId: text(),
  state: text(),
  outcome: maybe(text()),
  reason: maybe(text()),
  code: maybe(number()),
  /** Milliseconds since the epoch: when its turn came. */
  begunMs: maybe(number()),
  /** When it came into this state. */
  sinceMs: maybe(number()),
  /** With a result: how long the command took by its host's clock, or the attempt if the command did not end there. */
  durationMs: maybe(number()),
});

export const near = object({ rule: text(), line: number(), why: text() });
export const verdictOnRun = object({
  host: text(),
  decision: oneOf(['allow', 'deny']),
  sentence: text(),
  rule: maybe(text()),
  line: maybe(number()),
  program: maybe(text()),
  runAs: maybe(text()),
  nearest: list(near),
});

/** A record of a host's log: these, and other keys by its kind. */
export const record = v.looseObject({ n: count(), at: text(), kind: text(), run: maybe(text()) });
