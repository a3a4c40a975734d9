/** The messages of the page, as the console's server reads and checks them. No part of the page imports it. */
import * as v from 'valibot';
import { count, id, object, text } from './fields.js';
import { OPERATIONS, type Asked, type Operation } from './operations.js';
import { checked, parsed, type Reading } from './reading.js';
import { SUBSCRIPTIONS, type Kind, type Subscribed } from './subscriptions.js';

const short = () => v.pipe(text(), v.maxLength(200, 'is too long'));
/** The name of the page's key, and its random number. */
const hello = object({ hello: object({ key: short(), nonce: short() }) });
/** Answers the console's number. */
const proof = object({ proof: short() });
const unsubscribe = object({ unsubscribe: id });
const credit = object({ credit: object({ sub: id, bytes: count() }) });

/** A request for an operation. */
export type Request = {
  [O in Operation]: { readonly id: number; readonly op: O; readonly asked: Asked<O> };
}[Operation];
/** A new subscription. */
export type Subscription = {
  [K in Kind]: { readonly id: number; readonly kind: K; readonly asked: Subscribed<K> };
}[Kind];
/** A message of the page, as the server reads it. */
export type PageMessage =
  | { readonly type: 'hello'; readonly key: string; readonly nonce: string }
  | { readonly type: 'proof'; readonly proof: string }
  | ({ readonly type: 'request' } & Request)
  | ({ readonly type: 'subscribe' } & Subscription)
  | { readonly type: 'unsubscribe'; readonly sub: number }
  | { readonly type: 'credit'; readonly sub: number; readonly bytes: number };

/** Reads a message of the page. */
export function readPageMessage(json: string): Reading<PageMessage> {
  const value = parsed(json);
  if (value === undefined) return { id: 0, problem: 'the message is not a JSON object' };
  if ('hello' in value) return checked(hello, value, (read) => ({ type: 'hello', ...read.hello }));
  if ('proof' in value) return checked(proof, value, (read) => ({ type: 'proof', ...read }));
  if ('unsubscribe' in value)
    return checked(unsubscribe, value, (read) => ({ type: 'unsubscribe', sub: read.unsubscribe }));
  if ('credit' in value) return checked(credit, value, (read) => ({ type: 'credit', ...read.credit }));
  const number = v.safeParse(id, value.id);
  if (!number.success) return { id: 0, problem: `id ${number.issues[0].message}` };
  if ('subscribe' in value) {
    const { kind, ...asked } = (v.is(v.looseObject({}), value.subscribe) ? value.subscribe : {}) as Record<
      string,
      unknown
    >;
    if (typeof kind !== 'string' || !Object.hasOwn(SUBSCRIPTIONS, kind))
      return { id: number.output, problem: `kind must be one of ${Object.keys(SUBSCRIPTIONS).join(', ')}` };
    return checked(
      SUBSCRIPTIONS[kind as Kind] as v.GenericSchema,
      asked,
      (read) => ({ type: 'subscribe', id: number.output, kind, asked: read }) as PageMessage,
      number.output,
    );
  }
  const { id: _id, op, ...asked } = value;
  if (typeof op !== 'string' || !Object.hasOwn(OPERATIONS, op))
    return { id: number.output, problem: `op must be one of ${Object.keys(OPERATIONS).join(', ')}` };
  return checked(
    OPERATIONS[op as Operation].asked as v.GenericSchema,
    asked,
    (read) => ({ type: 'request', id: number.output, op, asked: read }) as PageMessage,
    number.output,
  );
}
