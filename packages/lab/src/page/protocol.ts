/**
 * The messages between the page and the lab, as one schema that both sides check every message against. It runs in a
 * browser too, so it imports nothing of Node.
 */
import * as v from 'valibot';
import { PHENOMENON_NAMES } from '../phenomena/names.js';

/** Most messages of one experiment. */
export const MOST_MESSAGES = 16;
/** Most bytes of one message. */
export const LONGEST_MESSAGE = 512;
/** Most characters of a name, an address or a framing. */
const LONGEST_WORD = 200;

// Error texts about a value; the field's name precedes them.

const number = (least: number, most: number) => {
  const rule = `must be a number from ${least} to ${most}`;
  return v.pipe(v.number(rule), v.minValue(least, rule), v.maxValue(most, rule));
};
const whole = (least: number, most: number) => v.pipe(number(least, most), v.integer('must be a whole number'));
const count = () => whole(0, Number.MAX_SAFE_INTEGER);
const word = () =>
  v.pipe(v.string('must be text'), v.maxLength(LONGEST_WORD, `must be a text of at most ${LONGEST_WORD} characters`));
const oneOf = <const T extends readonly string[]>(names: T) => v.picklist(names, `must be one of ${names.join(', ')}`);
const truth = () => v.boolean('must be true or false');
const list = <const T extends v.GenericSchema>(each: T) => v.pipe(v.array(each, 'must be a list'), v.readonly());
const object = <const T extends v.ObjectEntries>(entries: T) =>
  v.strictObject(entries, (issue) =>
    issue.expected === 'never'
      ? 'is not known here'
      : issue.received === 'undefined'
        ? 'is missing'
        : 'must be an object',
  );

// ---- from the page to the lab

const id = count();
const view = oneOf(['inspect', 'chaos']);
/** `demo`, or the address of a server. */
const to = word();

const ofOneWay = {
  slice: v.optional(number(1, 65_536)),
  coalesce: v.optional(number(1, 5000)),
  latency: v.optional(number(1, 5000)),
  jitter: v.optional(number(1, 5000)),
  throttle: v.optional(number(1, 1e9)),
  corrupt: v.optional(number(0, 1)),
  stall: v.optional(number(1, 5000)),
  cutEvery: v.optional(number(1, 1e9)),
  resetAfter: v.optional(number(1, 1e9)),
  halfClose: v.optional(truth()),
};
/** Faults of both directions, and those of one, which take their place there. */
const faults = object({ ...ofOneWay, up: v.optional(object(ofOneWay)), down: v.optional(object(ofOneWay)) });

const message = v.pipe(
  v.string('must be text'),
  v.maxBytes(LONGEST_MESSAGE, `must be a message of at most ${LONGEST_MESSAGE} bytes`),
);
const MESSAGES_RULE = `must be 1 to ${MOST_MESSAGES} messages`;

const pageRequest = v.variant(
  'type',
  [
    object({ type: v.literal('show'), id, name: oneOf(PHENOMENON_NAMES) }),
    object({
      type: v.literal('experiment'),
      id,
      messages: v.pipe(
        v.array(message, MESSAGES_RULE),
        v.minLength(1, MESSAGES_RULE),
        v.maxLength(MOST_MESSAGES, MESSAGES_RULE),
        v.readonly(),
      ),
      noDelay: truth(),
      /** The peer delays its acknowledgement. */
      lateAck: truth(),
      delayMs: number(0, 1000),
      readSize: whole(1, 65_536),
      /** Empty: no framing, each read is a message. */
      framing: word(),
      faults,
    }),
    object({
      type: v.literal('inspect'),
      id,
      to,
      framing: word(),
      framingBack: word(),
      /** Shows requests with their answers, too. */
      pairs: v.optional(truth()),
    }),
    object({ type: v.literal('chaos'), id, to, faults, seed: whole(0, 2 ** 32 - 1) }),
    /** Other faults for the proxy of chaos, which goes on running. */
    object({ type: v.literal('change'), id, faults }),
    /** The last run of it, or what passed through the proxy of a view, as a capture. */
    object({ type: v.literal('pcap'), id, name: oneOf(['experiment', 'inspect', 'chaos', ...PHENOMENON_NAMES]) }),
    object({ type: v.literal('traffic'), id, view }),
    object({ type: v.literal('stop'), id, view }),
  ],
  (issue) => (issue.path ? 'is not a request that the lab knows' : 'must be an object'),
);

/** A request of the page. */
export type PageRequest = v.InferOutput<typeof pageRequest>;
export type View = v.InferOutput<typeof view>;

// ---- from the lab to the page

const text = () => v.string('must be text');
const time = () => v.number('must be a number');
const direction = oneOf(['up', 'down']);
const bothLanguages = object({ en: text(), zh: text() });
/** Bytes as text if they are whole UTF-8, else as hex; `cut`: only the first bytes. */
const content = { text: v.optional(text()), hex: v.optional(text()), cut: v.optional(v.literal(true)) };

const span = object({ atMs: time(), offset: count(), length: count(), ...content });
const trace = {
  writes: list(span),
  reads: list(span),
  messages: list(span),
  segments: v.optional(
    v.variant('source', [
      object({
        source: v.literal('capture'),
        count: count(),
        spans: list(span),
        repeated: count(),
        acknowledgements: list(object({ atMs: time(), offset: count() })),
      }),
      object({ source: v.literal('kernel counters'), count: count() }),
      object({ source: v.literal('not seen'), reason: text() }),
    ]),
  ),
};

const cell = v.union([v.string(), v.number()], 'must be text or a number');
const shown = object({
  phenomenon: oneOf(PHENOMENON_NAMES),
  title: text(),
  /** The chapter's statement about it. */
  chapter: text(),
  /** The result in a sentence. */
  verdict: text(),
  explanation: text(),
  ...trace,
  observations: list(
    object({
      name: text(),
      title: text(),
      ...trace,
      back: v.optional(object(trace)),
      requests: v.optional(list(object({ fromMs: time(), toMs: time() }))),
      facts: v.optional(
        v.record(text(), v.union([v.string(), v.number(), v.boolean()], 'must be text, a number or a truth')),
      ),
    }),
  ),
  table: v.optional(object({ columns: list(text()), rows: list(list(cell)) })),
  plot: v.optional(object({ title: text(), unit: text(), bars: list(object({ label: text(), value: time() })) })),
  notShown: v.optional(text()),
});

const connection = count();
/** The events of connections through a proxy. */
const opened = {
  event: v.literal('open'),
  atMs: time(),
  connection,
  client: text(),
  server: v.optional(text()),
  protocol: v.optional(oneOf(['tcp', 'udp'])),
  midway: v.optional(v.literal(true)),
};
const ended = { event: v.literal('end'), atMs: time(), connection, direction };
const closed = {
  event: v.literal('close'),
  atMs: time(),
  connection,
  up: count(),
  down: count(),
  error: v.optional(text()),
  reset: v.optional(direction),
};
const refused = { event: v.literal('refused'), atMs: time(), client: text(), reason: text() };
const piece = {
  atMs: time(),
  connection,
  direction,
  offset: count(),
  length: count(),
  ...content,
  seen: v.optional(oneOf(['segment', 'datagram'])),
};
/** In a capture: bytes that came again or early, or that are missing. */
const wire = {
  event: v.literal('wire'),
  atMs: time(),
  connection,
  direction,
  what: oneOf(['repeated', 'early', 'gap']),
  offset: count(),
  length: count(),
  reason: v.optional(text()),
};
const paired = object({ direction, index: count(), atMs: time(), length: count(), ...content });

const guesses = list(
  object({ framing: text(), protocol: v.optional(text()), score: v.number('must be a number'), messages: count() }),
);
const inspected = { type: v.literal('inspected') };
const chaos = { type: v.literal('chaos') };

const labMessage = v.variant(
  'type',
  [
    object({ type: v.literal('shown'), id, en: shown, zh: shown }),
    object({ type: v.literal('experiment'), id, ...trace, error: v.optional(text()) }),
    /** How far a request has come that is not answered yet. */
    object({ type: v.literal('progress'), id, done: count(), of: count(), what: bothLanguages }),
    object({ type: v.literal('started'), id, address: text(), faults: v.optional(list(bothLanguages)) }),
    object({
      type: v.literal('traffic'),
      id,
      sent: list(text()),
      received: list(text()),
      reads: count(),
      trouble: v.optional(text()),
    }),
    /** Without segments that were seen, each send, or each read of a proxy, stands for one. `cut`: the beginning. */
    object({ type: v.literal('pcap'), id, base64: text(), segmentsSeen: truth(), cut: v.optional(v.literal(true)) }),
    object({ type: v.literal('changed'), id, faults: list(bothLanguages) }),
    object({ type: v.literal('stopped'), id }),
    /** A request failed; the id is 0 when none could be read. */
    object({ type: v.literal('error'), id, message: text() }),
    v.variant('event', [
      object({ ...inspected, ...opened }),
      object({
        ...inspected,
        event: v.literal('read'),
        ...piece,
        glued: truth(),
        split: truth(),
        messages: list(
          object({ index: count(), start: count(), end: count(), payloadAt: count(), length: count(), ...content }),
        ),
        partial: v.optional(object({ have: count(), missing: v.optional(count()) })),
      }),
      object({
        ...inspected,
        event: v.literal('misfit'),
        atMs: time(),
        connection,
        direction,
        framing: text(),
        reason: text(),
        guesses,
      }),
      object({
        ...inspected,
        event: v.literal('guess'),
        atMs: time(),
        connection,
        direction,
        framing: text(),
        guesses,
      }),
      object({
        ...inspected,
        event: v.literal('pair'),
        atMs: time(),
        connection,
        request: paired,
        answer: paired,
        answers: count(),
        tookMs: time(),
      }),
      object({
        ...inspected,
        event: v.literal('unanswered'),
        atMs: time(),
        connection,
        request: paired,
        answers: count(),
        waitedMs: time(),
        reason: text(),
      }),
      object({ ...inspected, event: v.literal('unasked'), atMs: time(), connection, answer: paired }),
      object({ ...inspected, ...wire }),
      object({ ...inspected, ...ended, truncated: v.optional(text()) }),
      object({ ...inspected, ...closed }),
      object({ ...inspected, ...refused }),
    ]),
    v.variant('event', [
      object({ ...chaos, ...opened }),
      /** Bytes as they came, and as they went on. */
      object({ ...chaos, event: oneOf(['read', 'write']), ...piece }),
      object({
        ...chaos,
        event: v.literal('fault'),
        atMs: time(),
        connection,
        direction,
        fault: text(),
        what: text(),
        afterBytes: count(),
      }),
      object({ ...chaos, ...ended }),
      object({ ...chaos, ...closed }),
      object({ ...chaos, ...wire }),
      object({ ...chaos, ...refused }),
    ]),
  ],
  (issue) => (issue.path ? 'is not a message that the page knows' : 'must be an object'),
);

/** An answer or a report of the lab. */
export type LabMessage = v.InferOutput<typeof labMessage>;
/** A report, which answers no request. */
export type LabEvent = Extract<LabMessage, { event: string }>;

export type Progress = Extract<LabMessage, { type: 'progress' }>;

/** The answer to each request; any of them may get an `error` instead. */
export const ANSWERS = {
  show: 'shown',
  experiment: 'experiment',
  inspect: 'started',
  chaos: 'started',
  change: 'changed',
  pcap: 'pcap',
  traffic: 'traffic',
  stop: 'stopped',
} as const satisfies Record<PageRequest['type'], LabMessage['type']>;

export type Asked<K extends PageRequest['type']> = Omit<Extract<PageRequest, { type: K }>, 'type' | 'id'>;
export type Answer<K extends PageRequest['type']> = Extract<LabMessage, { type: (typeof ANSWERS)[K] }>;

// ---- reading

/** A message, or its problem; `id` is 0 when none could be read. */
export type Reading<T> = { readonly message: T } | { readonly id: number; readonly problem: string };

export const readPageRequest = (json: string): Reading<PageRequest> => reading(json, pageRequest);
export const readLabMessage = (json: string): Reading<LabMessage> => reading(json, labMessage);

function reading<T extends v.GenericSchema>(json: string, schema: T): Reading<v.InferOutput<T>> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return { id: 0, problem: 'the message is not JSON' };
  }
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return { message: result.output };
  const [issue] = result.issues;
  return { id: idOf(value), problem: `${v.getDotPath(issue) ?? 'the message'} ${issue.message}` };
}

function idOf(value: unknown): number {
  const named = v.safeParse(v.object({ id }), value);
  return named.success ? named.output.id : 0;
}
