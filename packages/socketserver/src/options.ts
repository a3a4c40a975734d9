/** The options of a server: what each means, its default, and the table that checks them. */
import type { TlsOptions } from 'node:tls';
import type { Framing } from '@sendall/framing';
import type { BoundAddress } from './address.js';
import { OptionError } from './errors.js';

/**
 * Where handlers run.
 *
 * `inline`: on this event loop, many at once. `threads`: worker threads that accept by themselves.
 * `processes`: a pool of child processes that get connections handed over.
 */
export type Concurrency = 'inline' | 'threads' | 'processes' | ThreadOptions | ProcessOptions;

/** Handlers in worker threads. */
export interface ThreadOptions {
  mode: 'threads';
  /** How many threads. @default as many as there are cores, at least 2 */
  workers?: number;
  /**
   * How connections spread. `kernel`: all workers accept from one socket, cheapest, uneven. `reuse-port`: a socket
   * each, spread evenly by the kernel. `round-robin`, `least-connections`: this thread accepts and hands over.
   * `auto`: `reuse-port` where it can be had, else handed over where koffi is installed, else `kernel`.
   * @default 'auto'
   */
  balance?: 'auto' | 'kernel' | 'reuse-port' | 'round-robin' | 'least-connections';
  /** A thread whose loop stands still for so many milliseconds is ended and replaced; 0: never. @default 60_000 */
  hangTimeout?: number;
}

/** Handlers in child processes. */
export interface ProcessOptions {
  mode: 'processes';
  /** How many processes. @default as many as there are cores, at least 2 */
  workers?: number;
  /**
   * How connections spread. `auto` and `kernel` are round-robin too: children that accepted by themselves could not
   * share one count of places.
   * @default 'round-robin'
   */
  balance?: 'auto' | 'kernel' | 'round-robin' | 'least-connections';
  /** At most this many children at a time, those that finish included; never less than `workers`. @default 40 */
  maxChildren?: number;
  /** A child ends after this many requests; 0: it goes on, 1: one process for each request. @default 0 */
  requestsPerChild?: number;
  /** Children kept ready beyond those that serve. @default `workers` when `requestsPerChild` is set, else 0 */
  spares?: number;
  /** A child whose loop stands still for so many milliseconds is killed and replaced; 0: never. @default 60_000 */
  hangTimeout?: number;
}

/** `optional` takes connections with and without a header; the versions take only their own. */
export type ProxyProtocol = boolean | 'v1' | 'v2' | 'optional';

/** A number of connections that is worth an event. */
export interface Alarm {
  /** Fires when the number of connections reaches this. */
  threshold: number;
  /** Milliseconds before it may fire again. @default 5_000 */
  cooldown?: number;
  /** What the event calls it. @default the threshold */
  name?: string;
}

/** All times in milliseconds; 0 switches a timeout off. */
export interface ServerOptions {
  /** How `MessageRequestHandler` and `connection.messages` find messages; a spec such as `'u32be'` works everywhere. */
  framing?: Framing | string;
  /** Where handlers run. @default 'inline' */
  concurrency?: Concurrency;
  /** Given to every handler as `this.options`. For threads and processes it has to be clonable. */
  handlerOptions?: unknown;
  /** Shuts the server down when aborted. */
  signal?: AbortSignal;
  /** Connections the kernel may hold before they are accepted. @default 511 */
  requestQueueSize?: number;
  /** UDP: bind with SO_REUSEADDR. (TCP on Unix always has it.) @default true for TCP, false for UDP */
  allowReuseAddress?: boolean;
  /** Milliseconds that `handleRequest()` waits before `handleTimeout()`; 0: for ever. @default 0 */
  timeout?: number;
  /** Send small writes at once (TCP_NODELAY). @default true */
  noDelay?: boolean;
  /** TCP keep-alive probes; a number is the first probe's delay in milliseconds. @default false */
  keepAlive?: boolean | number;
  /** Keep our side open after the client's end, so that late answers arrive. @default true */
  allowHalfOpen?: boolean;
  /** Connections (datagrams: requests) at a time, all workers together. @default 16_384 */
  maxConnections?: number;
  /** Accepted but waiting for a free place. @default 1_024 */
  pendingConnections?: number;
  /**
   * When a connection counts as established. `server`: at once, or when its TLS handshake and PROXY header are done.
   * `handler`: when the handler calls `connection.establish()`, after it knows who calls. When there is no place, the
   * oldest connection that is not established, of the address that has most of them, is sent away for a newcomer.
   * @default 'server'
   */
  establishedBy?: 'server' | 'handler';
  /**
   * Unestablished connections of one source at a time; threads that accept by themselves count each their own. A source
   * is an IPv4 address, the /64 of an IPv6 address, or a Unix socket as a whole. One more displaces the oldest of its
   * source. @default Infinity
   */
  maxUnestablishedPerSource?: number;
  /**
   * Established connections of one source at a time; workers count each their own. One more is closed before its handler
   * begins, with the reason `source-limit`; with `establishedBy: 'handler'` its `establish()` returns false. Unix sockets
   * have no sources. @default Infinity
   */
  maxConnectionsPerSource?: number;
  /**
   * Whether good clients came from this source before (see `sourceOf()`). When the server is full, the first
   * `reservedPerSource` unestablished connections of such a source go last, unless these are half of `maxConnections`. It
   * must not throw. Not for threads that accept by themselves. @default no source is known
   */
  isKnownSource?: (source: string) => boolean;
  /** Unestablished connections of a known source that go last. @default 8 */
  reservedPerSource?: number;
  /** Sources whose failures in the last minute are remembered. @default 10_000 */
  maxFailedSources?: number;
  /** How long one waits for a place. @default 5_000 */
  pendingTimeout?: number;
  /** File descriptors left for the rest of the process, at most a quarter of the limit. @default 64 */
  fdReserve?: number;
  /** How long a client may send nothing while the server waits for it. @default 60_000 */
  readTimeout?: number;
  /** How long a client may take nothing of what is written to it. @default 30_000 */
  writeTimeout?: number;
  /** From accept to the end of the TLS handshake or PROXY header. @default 5_000 */
  handshakeTimeout?: number;
  /** How long `shutdown()` waits for handlers. @default 15_000 */
  drainTimeout?: number;
  /** After our end is sent: how long the client's remaining bytes are thrown away before the close. @default 2_000 */
  lingerTimeout?: number;
  /** Bytes of one datagram; more is cut off and `truncated` set. @default 65_536 */
  maxPacketSize?: number;
  /** Bytes read ahead of a handler, and written ahead of a client, for each connection. @default 65_536 */
  highWaterMark?: number;
  /** `serverClose()` waits for requests in progress. @default true */
  blockOnClose?: boolean;
  /** Options of node:tls, for `TLSServer` and `upgradeTls()`. */
  tls?: TlsOptions;
  /** Expect a PROXY protocol header before anything else. @default false */
  proxyProtocol?: ProxyProtocol;
  /** Runs after bind and before the first request; an error fails the start. */
  postListen?: (address: BoundAddress) => void | Promise<void>;
  /** Numbers of connections that an `alarm` event is wanted for. @default [] */
  alarms?: Alarm[];
}

/** The longest that Node's timers wait, in milliseconds. */
export const MAX_DELAY = 0x7fff_ffff;

export const defaults = {
  concurrency: 'inline' as Concurrency,
  requestQueueSize: 511,
  timeout: 0,
  noDelay: true,
  keepAlive: false as boolean | number,
  allowHalfOpen: true,
  maxConnections: 16_384,
  pendingConnections: 1_024,
  pendingTimeout: 5_000,
  maxUnestablishedPerSource: Infinity,
  maxConnectionsPerSource: Infinity,
  reservedPerSource: 8,
  maxFailedSources: 10_000,
  establishedBy: 'server' as 'server' | 'handler',
  fdReserve: 64,
  readTimeout: 60_000,
  writeTimeout: 30_000,
  handshakeTimeout: 5_000,
  drainTimeout: 15_000,
  lingerTimeout: 2_000,
  maxPacketSize: 65_536,
  highWaterMark: 65_536,
  blockOnClose: true,
  proxyProtocol: false as ProxyProtocol,
  alarms: [] as Alarm[],
};

/** Options behind the door: complete and checked. */
export type ResolvedOptions = ServerOptions & typeof defaults;

/** Undefined where the value fits, else what it must be. */
type Check = (value: unknown) => string | undefined;

const boolean: Check = (value) => (typeof value === 'boolean' ? undefined : 'true or false');
const time: Check = (value) =>
  value === Infinity || (typeof value === 'number' && value >= 0 && value <= MAX_DELAY)
    ? undefined
    : 'milliseconds, 0 (off) to 2147483647';
const count =
  (least: number, most = Number.MAX_SAFE_INTEGER): Check =>
  (value) =>
    (value === Infinity && most === Number.MAX_SAFE_INTEGER) ||
    (Number.isInteger(value) && (value as number) >= least && (value as number) <= most)
      ? undefined
      : `a whole number of at least ${least}${most < Number.MAX_SAFE_INTEGER ? ` and at most ${most}` : ''}`;
const oneOf =
  (...values: unknown[]): Check =>
  (value) =>
    values.includes(value) ? undefined : `one of ${values.map((each) => JSON.stringify(each)).join(', ')}`;
const aFunction: Check = (value) => (typeof value === 'function' ? undefined : 'a function');
const anything: Check = () => undefined;
const object: Check = (value) => (typeof value === 'object' && value !== null ? undefined : 'an object');

/** The table that every option is checked by. */
const checks: Record<keyof ServerOptions, Check> = {
  framing: (value) =>
    typeof value === 'string' || typeof (value as Framing | null)?.decoder === 'function'
      ? undefined
      : 'a Framing or a spec such as "u32be"',
  concurrency: checkConcurrency,
  handlerOptions: anything,
  signal: (value) => (value instanceof AbortSignal ? undefined : 'an AbortSignal'),
  requestQueueSize: count(0, 65_535),
  allowReuseAddress: boolean,
  timeout: time,
  noDelay: boolean,
  keepAlive: (value) => (typeof value === 'boolean' ? undefined : time(value) && 'true, false or milliseconds'),
  allowHalfOpen: boolean,
  maxConnections: count(1),
  pendingConnections: count(0),
  pendingTimeout: time,
  establishedBy: oneOf('server', 'handler'),
  maxUnestablishedPerSource: count(1),
  maxConnectionsPerSource: count(1),
  isKnownSource: aFunction,
  reservedPerSource: count(0),
  maxFailedSources: count(1),
  fdReserve: count(0),
  readTimeout: time,
  writeTimeout: time,
  handshakeTimeout: time,
  drainTimeout: time,
  lingerTimeout: time,
  maxPacketSize: count(1),
  highWaterMark: count(1),
  blockOnClose: boolean,
  tls: object,
  proxyProtocol: oneOf(true, false, 'v1', 'v2', 'optional'),
  postListen: aFunction,
  alarms: checkAlarms,
};

function checkAlarms(value: unknown): string | undefined {
  const good =
    Array.isArray(value) &&
    value.every(
      (alarm: Partial<Alarm> | null) =>
        count(1)(alarm?.threshold) === undefined &&
        (alarm?.cooldown === undefined || time(alarm.cooldown) === undefined),
    );
  return good ? undefined : 'a list of { threshold, cooldown?, name? }';
}

const concurrencyKeys: Record<string, Record<string, Check>> = {
  inline: { mode: anything },
  threads: {
    mode: anything,
    workers: count(1, 1024),
    balance: oneOf('auto', 'kernel', 'reuse-port', 'round-robin', 'least-connections'),
    hangTimeout: time,
  },
  processes: {
    mode: anything,
    workers: count(1, 1024),
    balance: oneOf('auto', 'kernel', 'round-robin', 'least-connections'),
    maxChildren: count(1, 4096),
    requestsPerChild: count(0),
    spares: count(0, 1024),
    hangTimeout: time,
  },
};

function checkConcurrency(value: unknown): string | undefined {
  const options = typeof value === 'string' ? { mode: value } : (value as Record<string, unknown> | null);
  const known = concurrencyKeys[String(options?.['mode'])];
  if (typeof options !== 'object' || options === null || known === undefined)
    return `'inline', 'threads', 'processes', or an object whose mode is one of these`;
  for (const [key, each] of Object.entries(options)) {
    if (each === undefined) continue;
    const check = known[key];
    if (check === undefined) throw unknownOption(`concurrency.${key}`);
    const wrong = check(each);
    if (wrong !== undefined) return `one whose ${key} is ${wrong}`;
  }
  return undefined;
}

function unknownOption(name: string): OptionError {
  return new OptionError('UNKNOWN_OPTION', name, `there is no option "${name}"`);
}

/** For what the table cannot say: how an option goes with the rest. */
export function wrongOption(name: string, why: string): OptionError {
  return new OptionError('INVALID_OPTION', name, why);
}

/**
 * Checks a number that is given to a method.
 * @throws OptionError
 */
export function checkNumber(name: string, value: number, least: number, what: string): void {
  if (!(value >= least)) throw wrongOption(name, `${what}, not ${show(value)}`);
}

/**
 * Checks options by the table.
 * @throws OptionError for an unknown name or a value that does not fit
 */
export function checkOptions(options: ServerOptions): void {
  if (typeof options !== 'object' || options === null)
    throw wrongOption('options', `options must be an object, not ${String(options)}`);
  for (const [name, value] of Object.entries(options)) {
    const check = Object.hasOwn(checks, name) ? checks[name as keyof ServerOptions] : undefined;
    if (check === undefined) throw unknownOption(name);
    if (value === undefined) continue;
    const wrong = check(value);
    if (wrong !== undefined) throw wrongOption(name, `option "${name}" must be ${wrong}, not ${show(value)}`);
  }
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  return typeof value === 'object' && value !== null ? 'this object' : String(value);
}

/** Checks options and fills in what is not given. */
export function resolveOptions(options: ServerOptions): ResolvedOptions {
  checkOptions(options);
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(given) };
}

/** What `setOptions()` cannot change while the server runs: it is fixed at bind. */
const fixed = new Set<string>([
  'concurrency',
  'requestQueueSize',
  'allowReuseAddress',
  'signal',
  'postListen',
  'isKnownSource',
  'maxConnectionsPerSource',
  'proxyProtocol',
  'maxPacketSize',
]);

/** @throws OptionError for an option that is wrong, or fixed at bind */
export function checkChange(options: ServerOptions): void {
  checkOptions(options);
  const name = Object.keys(options).find((each) => fixed.has(each));
  if (name !== undefined)
    throw wrongOption(name, `option "${name}" cannot change while the server runs: make a new server`);
}
