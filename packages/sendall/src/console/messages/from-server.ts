/** The messages of the console's server, as the page reads and checks them. */
import * as v from 'valibot';
import { ANSWERS, type Value } from './answers.js';
import { EVENTS, OPENED, type EventOf, type Opened } from './events.js';
import { count, id, maybe, object, text, truth } from './fields.js';
import type { Operation } from './operations.js';
import { checked, parsed, problemOf, type Reading } from './reading.js';
import type { Kind } from './subscriptions.js';

/** Answers the page's number with a proof, and asks for the page's. */
const challenge = object({ challenge: object({ nonce: text(), proof: text() }) });
export const welcome = object({
  welcome: object({
    version: text(),
    readOnly: truth(),
    /** The user and the home for whom the console acts. */
    user: text(),
    home: text(),
    lang: maybe(text()),
    /** For a page that came with a one-time code: the token for its next sockets. */
    token: maybe(text()),
    /** The page came by an address for watching one run, and may do nothing else. */
    only: maybe(object({ host: text(), runId: text() })),
    limits: object({
      /** Bytes of a message of the page. */
      message: count(),
      /** Requests without an answer. */
      requests: count(),
      subscriptions: count(),
      /** Bytes of credit that a subscription may have at once. */
      credit: count(),
    }),
  }),
});
export type Welcome = v.InferOutput<typeof welcome>['welcome'];

const failure = object({ code: text(), message: text() });
/** Why something failed. `code` is for programs, `message` one sentence for people. */
export type Failure = v.InferOutput<typeof failure>;

const valueAnswer = v.looseObject({ id: count(), value: v.unknown() });
/** The id is 0 where the console could not read the id of the message that failed. */
const errorAnswer = object({ id: count(), error: failure });
const event = v.looseObject({ sub: id, event: v.unknown() });
/** The subscription has ended; `error`: not as it should. */
const closed = object({ sub: id, closed: object({ error: maybe(failure) }) });

/** A message of the server, as the page reads it. The page checks a value or an event by what it belongs to. */
export type ServerMessage =
  | { readonly type: 'challenge'; readonly nonce: string; readonly proof: string }
  | { readonly type: 'welcome'; readonly welcome: Welcome }
  | { readonly type: 'value'; readonly id: number; readonly value: unknown }
  | { readonly type: 'error'; readonly id: number; readonly error: Failure }
  | { readonly type: 'event'; readonly sub: number; readonly event: unknown }
  | { readonly type: 'closed'; readonly sub: number; readonly error: Failure | undefined };

/** Reads a message of the server. */
export function readServerMessage(json: string): Reading<ServerMessage> {
  const value = parsed(json);
  if (value === undefined) return { id: 0, problem: 'the message is not a JSON object' };
  if ('challenge' in value) return checked(challenge, value, (read) => ({ type: 'challenge', ...read.challenge }));
  if ('welcome' in value) return checked(welcome, value, (read) => ({ type: 'welcome', ...read }));
  if ('error' in value) return checked(errorAnswer, value, (read) => ({ type: 'error', ...read }));
  if ('closed' in value)
    return checked(closed, value, (read) => ({ type: 'closed', sub: read.sub, error: read.closed.error }));
  if ('sub' in value) return checked(event, value, ({ sub, event: told }) => ({ type: 'event', sub, event: told }));
  return checked(valueAnswer, value, ({ id: of, value: told }) => ({ type: 'value', id: of, value: told }));
}

/** Checks the value of an answer. @throws Error that names what is wrong. */
export function readValue<O extends Operation>(op: O, value: unknown): Value<O> {
  return sound(ANSWERS[op], value, op) as Value<O>;
}

/** Checks the value of a subscription's answer. @throws Error that names what is wrong. */
export function readOpened<K extends Kind>(kind: K, value: unknown): Opened<K> {
  return sound(OPENED[kind], value, kind) as Opened<K>;
}

/** Checks an event of a subscription. @throws Error that names what is wrong. */
export function readEvent<K extends Kind>(kind: K, value: unknown): EventOf<K> {
  return sound(EVENTS[kind], value, kind) as EventOf<K>;
}

function sound(schema: v.GenericSchema, value: unknown, what: string): unknown {
  const read = v.safeParse(schema, value, { abortEarly: true });
  if (read.success) return read.output;
  throw new Error(`${what}: ${problemOf(read.issues[0])}`);
}
