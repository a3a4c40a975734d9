/**
 * The messages between the console's page and its server, each checked by the side that receives it. This file
 * and the folder beside it run in a browser too, so they import nothing of Node; a bundler leaves out of the page what the
 * server alone reads.
 *
 * The page first names its key and gives a random number (`hello`). Each side shows the other that it has the key
 * (`challenge`, `proof`). Then the page gets `welcome`, or the socket closes with a code. It asks for operations, each with a number that the one answer repeats, and subscribes: the subscription's number is that of its
 * request, which is answered too, and events and binary frames name it. A subscription ends with `unsubscribe`, which
 * nothing answers, or with `closed`.
 */
import type { Asked, Operation } from './messages/operations.js';
import type { Kind, Subscribed } from './messages/subscriptions.js';

export type { Value } from './messages/answers.js';
export type { EventOf, Opened } from './messages/events.js';
export { FRAME_HEADER, FRAME_STREAMS, frameHeader, readFrame, type OutputFrame } from './messages/frames.js';
export { readPageMessage, type PageMessage } from './messages/from-page.js';
export {
  readEvent,
  readOpened,
  readServerMessage,
  readValue,
  type Failure,
  type ServerMessage,
  type Welcome,
} from './messages/from-server.js';
export { OPERATIONS } from './messages/operations.js';
export { keyName, newNonce, proofOf, type Nonces } from './messages/proof.js';
export type { Asked, Kind, Operation, Subscribed };

/** The path of the WebSocket. */
export const FEED_PATH = '/feed';

/** Why the server closes a page's socket. */
export const CLOSED = {
  /** The console ends. */
  ending: 1001,
  /** A message of the page is larger than the limit. */
  tooLarge: 1009,
  /** The token is wrong, or the one-time code was used or is too old. */
  token: 4001,
  /** No hello came in time, or something else came first. */
  noHello: 4002,
  /** There are as many pages as may be. */
  tooManyPages: 4003,
} as const;

/** What the page writes for a request: its operation beside the fields. */
export const requestText = <O extends Operation>(number: number, op: O, asked: Asked<O>): string =>
  JSON.stringify({ id: number, op, ...asked });
/** The same for a subscription. */
export const subscribeText = <K extends Kind>(number: number, kind: K, asked: Subscribed<K>): string =>
  JSON.stringify({ id: number, subscribe: { kind, ...asked } });
