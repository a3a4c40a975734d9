/**
 * The page's one WebSocket to the console: requests with answers, subscriptions with events and output. When it is lost
 * it comes back with growing pauses, and each subscription goes on from where its owner says it is. Page and console
 * show each other at each socket that they have the same key; until then the page hears nothing else.
 */
import {
  CLOSED,
  FEED_PATH,
  keyName,
  newNonce,
  proofOf,
  readEvent,
  readFrame,
  readOpened,
  readServerMessage,
  readValue,
  requestText,
  subscribeText,
  type Asked,
  type EventOf,
  type Kind,
  type Opened,
  type Operation,
  type OutputFrame,
  type Subscribed,
  type Value,
  type Welcome,
} from '../../dist/console/messages.js';
import { Store } from './store.js';

/** Where the feed stands. `waiting`: it was lost and is tried again at `at`. `over`: only a new link or start helps. */
export type Link =
  | { readonly state: 'connecting' | 'open' }
  | { readonly state: 'waiting'; readonly at: number }
  | { readonly state: 'over'; readonly why: 'noKey' | 'token' | 'pages' | 'other' };

/** Milliseconds before the first and the slowest new try. */
const [FIRST_PAUSE, LONGEST_PAUSE] = [250, 8000];

/** A failure that the console reports, with its code; `LOST` when the feed broke before the answer. */
export class FeedError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

interface Waiting {
  readonly read: (value: unknown) => void;
  readonly fail: (error: FeedError) => void;
}

export interface Listener<K extends Kind> {
  /** The subscription stands: first, and again after each loss of the feed. */
  readonly onOpened?: (opened: Opened<K>) => void;
  readonly onEvent?: (event: EventOf<K>) => void;
  readonly onOutput?: (frame: OutputFrame) => void;
  /** It has ended or could not begin. */
  readonly onClosed?: (error: FeedError | undefined) => void;
}

interface Subscriber {
  readonly text: (id: number) => string;
  readonly opened: (value: unknown) => void;
  readonly event: (event: unknown) => void;
  readonly output: ((frame: OutputFrame) => void) | undefined;
  readonly closed: (error: FeedError | undefined) => void;
}

export interface Subscription {
  /** Its number now, for `take`, `stdin` and so on. */
  readonly id: number;
  /** Lets the console send so many bytes more. */
  credit(bytes: number): void;
  end(): void;
}

const link = new Store<Link>({ state: 'connecting' });
const greeting = new Store<Welcome | undefined>(undefined);
/** Something the console sent that is not understood. */
const trouble = new Store<string | undefined>(undefined);

/** The token, or at first a code that works once. */
let key: string | undefined;
let socket: WebSocket | undefined;
let pause = FIRST_PAUSE;
let retry: ReturnType<typeof setTimeout> | undefined;
let lastId = 0;
const waiting = new Map<number, Waiting>();
const subscribers = new Map<number, Subscriber>();

const isOpen = () => link.value.state === 'open';

/** Begins with the key from the address, or a pasted link. */
function start(found: string | undefined): void {
  key = found?.trim().replace(/^.*#/, '') || undefined;
  dial();
}

function dial(): void {
  clearTimeout(retry);
  if (!key) {
    link.value = { state: 'over', why: 'noKey' };
    return;
  }
  link.value = { state: 'connecting' };
  const address = new URL(FEED_PATH, location.href);
  address.protocol = address.protocol.replace('http', 'ws');
  const mine = new WebSocket(address);
  mine.binaryType = 'arraybuffer';
  socket = mine;
  void greet(mine, key);
  mine.addEventListener('close', ({ code }) => {
    if (mine === socket) lost(code);
  });
}

/** Hears the console only after it has shown that it has the key. Another program may have taken its port. */
async function greet(mine: WebSocket, secret: string): Promise<void> {
  const page = newNonce();
  const name = await keyName(secret);
  const hello = () => mine.send(JSON.stringify({ hello: { key: name, nonce: page } }));
  if (mine.readyState === WebSocket.OPEN) hello();
  else mine.addEventListener('open', hello);
  mine.addEventListener(
    'message',
    async ({ data }: MessageEvent<unknown>) => {
      const read = readServerMessage(String(data));
      const asked = 'message' in read && read.message.type === 'challenge' ? read.message : undefined;
      const nonces = { page, console: asked?.nonce ?? '' };
      if (asked?.proof !== (await proofOf(secret, 'console', nonces))) {
        socket = undefined;
        mine.close();
        link.value = { state: 'over', why: 'other' };
        return;
      }
      mine.send(JSON.stringify({ proof: await proofOf(secret, 'page', nonces) }));
      listen(mine);
    },
    { once: true },
  );
}

function listen(mine: WebSocket): void {
  mine.addEventListener('message', ({ data }: MessageEvent<string | ArrayBuffer>) => {
    if (mine !== socket) return;
    if (typeof data === 'string') heard(data);
    else {
      const frame = readFrame(new Uint8Array(data));
      if (frame) subscribers.get(frame.sub)?.output?.(frame);
    }
  });
}

function lost(code: number): void {
  socket = undefined;
  const unanswered = [...waiting.values()];
  waiting.clear();
  for (const { fail } of unanswered) fail(new FeedError('LOST', 'the link to the console was lost before it answered'));
  if (code === CLOSED.token) link.value = { state: 'over', why: 'token' };
  else if (code === CLOSED.tooManyPages) link.value = { state: 'over', why: 'pages' };
  else {
    // Pages that lost the same console do not come back in one instant.
    const ms = pause * (0.75 + Math.random() / 2);
    pause = Math.min(pause * 2, LONGEST_PAUSE);
    link.value = { state: 'waiting', at: Date.now() + ms };
    retry = setTimeout(dial, ms);
  }
}

function heard(json: string): void {
  const reading = readServerMessage(json);
  if ('problem' in reading) {
    trouble.value = reading.problem;
    waiting.get(reading.id)?.fail(new FeedError('PROTOCOL', reading.problem));
    waiting.delete(reading.id);
    return;
  }
  const { message } = reading;
  if (message.type === 'challenge') return;
  if (message.type === 'welcome') welcomed(message.welcome);
  else if (message.type === 'event') understood(() => subscribers.get(message.sub)?.event(message.event));
  else if (message.type === 'closed') ended(message.sub, message.error && failureOf(message.error));
  else {
    const asked = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.type === 'value') understood(() => asked?.read(message.value));
    else if (asked) asked.fail(failureOf(message.error));
    // The others answer subscriptions that were left before they began.
    else if (message.id === 0) trouble.value = message.error.message;
  }
}

const failureOf = ({ code, message }: { code: string; message: string }) => new FeedError(code, message);

/** A message that violates the schema costs one answer, not the page. */
function understood(read: () => void): void {
  try {
    read();
  } catch (error) {
    trouble.value = error instanceof Error ? error.message : String(error);
  }
}

function welcomed(welcome: Welcome): void {
  key = welcome.token ?? key;
  pause = FIRST_PAUSE;
  greeting.value = welcome;
  link.value = { state: 'open' };
  const before = [...subscribers.values()];
  subscribers.clear();
  for (const subscriber of before) begin(subscriber);
}

function ended(id: number, error: FeedError | undefined): void {
  const subscriber = subscribers.get(id);
  subscribers.delete(id);
  subscriber?.closed(error);
}

/** Subscribes on the present socket. The number is new each time, so that nothing late of an old one counts. */
function begin(subscriber: Subscriber): void {
  lastId += 1;
  const id = lastId;
  subscribers.set(id, subscriber);
  if (!isOpen()) return;
  waiting.set(id, {
    read: subscriber.opened,
    // When the feed breaks, it begins again with the next one.
    fail: (error) => error.code !== 'LOST' && ended(id, error),
  });
  socket?.send(subscriber.text(id));
}

/** Asks for an operation; what is asked as the page opens waits for its first link. Rejects with a FeedError. */
async function ask<O extends Operation>(op: O, asked: Asked<O>): Promise<Value<O>> {
  if (!greeting.value) await link.until(({ state }) => state !== 'connecting');
  if (!isOpen()) throw new FeedError('LOST', 'there is no link to the console at the moment');
  lastId += 1;
  const id = lastId;
  return new Promise<Value<O>>((resolve, reject) => {
    waiting.set(id, {
      read: (value) => {
        try {
          resolve(readValue(op, value));
        } catch (error) {
          reject(new FeedError('PROTOCOL', String(error)));
        }
      },
      fail: reject,
    });
    socket?.send(requestText(id, op, asked));
  });
}

/** Subscribes. `where` is asked at the beginning and after each loss, and says where to go on. */
function subscribe<K extends Kind>(kind: K, where: () => Subscribed<K>, listener: Listener<K>): Subscription {
  const subscriber: Subscriber = {
    text: (id) => subscribeText(id, kind, where()),
    opened: (value) => listener.onOpened?.(readOpened(kind, value)),
    event: (event) => listener.onEvent?.(readEvent(kind, event)),
    output: listener.onOutput,
    closed: (error) => listener.onClosed?.(error),
  };
  const number = () => [...subscribers].find(([, each]) => each === subscriber)?.[0] ?? 0;
  begin(subscriber);
  return {
    get id() {
      return number();
    },
    credit(bytes) {
      const sub = number();
      if (isOpen() && sub > 0) socket?.send(JSON.stringify({ credit: { sub, bytes } }));
    },
    end() {
      const sub = number();
      if (sub === 0) return;
      subscribers.delete(sub);
      waiting.delete(sub);
      if (isOpen()) socket?.send(JSON.stringify({ unsubscribe: sub }));
    },
  };
}

/** Tries now instead of after the pause. */
function retryNow(): void {
  if (link.value.state === 'waiting') dial();
}

export const feed = { link, greeting, trouble, start, retryNow, ask, subscribe };
