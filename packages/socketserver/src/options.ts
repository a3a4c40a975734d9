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

export interface ThreadOptions {
  mode: 'threads';
  /** Default: as many as there are cores, at least 2. */
  workers?: number;
  /**
   * How connections spread. `kernel`: all workers accept from one socket, cheapest, uneven. `reuse-port`: a socket
   * each, spread evenly by the kernel. `round-robin`, `least-connections`: this thread accepts and hands over.
   * Default `auto`: `reuse-port` where it can be had, else handed over where koffi is installed, else `kernel`.
   */
  balance?: 'auto' | 'kernel' | 'reuse-port' | 'round-robin' | 'least-connections';
  /** A worker whose loop stands still this long is ended and replaced. Default 60 s; 0: never. */
  hangTimeout?: number;
}

export interface ProcessOptions {
  mode: 'processes';
  /** Default: as many as there are cores, at least 2. */
  workers?: number;
  /**
   * `round-robin` (default) or `least-connections`. `auto` and `kernel` are round-robin too: children that accepted by
   * themselves could not share one count of places.
   */
  balance?: 'auto' | 'kernel' | 'round-robin' | 'least-connections';
  /** At most this many children at a time, those that finish included. Default 40, and never less than `workers`. */
  maxChildren?: number;
  /** A child ends after this many requests. Default 0: it goes on. 1: one process for each request. */
  requestsPerChild?: number;
  /** Children kept ready beyond those that serve. Default: `workers` when `requestsPerChild` is set, else 0. */
  spares?: number;
  /** A child whose loop stands still this long is killed and replaced. Default 60 s; 0: never. */
  hangTimeout?: number;
}

/** `optional` takes connections with and without a header; the versions take only their own. */
export type ProxyProtocol = boolean | 'v1' | 'v2' | 'optional';

export interface Alarm {
  /** Fires when the number of connections reaches this. */
  threshold: number;
  /** Milliseconds before it may fire again. Default 5 s. */
  cooldown?: number;
  /** What the event calls it. Default: the threshold. */
  name?: string;
}

/** All times in milliseconds; 0 switches a timeout off. */
export interface ServerOptions {
  /** How `MessageRequestHandler` and `connection.messages` find messages; a spec such as `'u32be'` works everywhere. */
  framing?: Framing | string;
  /** Where handlers run. Default `inline`. */
  concurrency?: Concurrency;
  /** Given to every handler as `this.options`. For threads and processes it has to be clonable. */
  handlerOptions?: unknown;
  /** Shuts the server down when aborted. */
  signal?: AbortSignal;
  /** Connections the kernel may hold before they are accepted. Default 511. */
  requestQueueSize?: number;
  /** UDP: bind with SO_REUSEADDR. (TCP on Unix always has it.) Default true for TCP, false for UDP. */
  allowReuseAddress?: boolean;
  /** Milliseconds that `handleRequest()` waits before `handleTimeout()`. Default 0: for ever. */
  timeout?: number;
  /** Send small writes at once (TCP_NODELAY). Default true. */
  noDelay?: boolean;
  /** TCP keep-alive probes; a number is the first probe's delay in milliseconds. Default false. */
  keepAlive?: boolean | number;
  /** Keep our side open after the client's end, so that late answers arrive. Default true. */
  allowHalfOpen?: boolean;
  /** Connections (datagrams: requests) at a time, all workers together. Default 16384. */
  maxConnections?: number;
  /** Accepted but waiting for a free place. Default 1024. */
  pendingConnections?: number;
  /**
   * When a connection counts as established. `server`: at once, or when its TLS handshake and PROXY header are done.
   * `handler`: when the handler calls `connection.establish()`, after it knows who calls. When there is no place, the
   * oldest connection that is not established, of the address that has most of them, is sent away for a newcomer.
   * Default `server`.
   */
  establishedBy?: 'server' | 'handler';
  /** How long one waits for a place. Default 5 s. */
  pendingTimeout?: number;
  /** File descriptors left for the rest of the process. Default 64, at most a quarter of the limit. */
  fdReserve?: number;
  /** How long a client may send nothing while the server waits for it. Default 60 s. */
  readTimeout?: number;
  /** How long a client may take nothing of what is written to it. Default 30 s. */
  writeTimeout?: number;
  /** From accept to the end of the TLS handshake or PROXY header. Default 5 s. */
  handshakeTimeout?: number;
  /** How long `shutdown()` waits for handlers. Default 15 s. */
  drainTimeout?: number;
  /** After our end is sent: how long the client's remaining bytes are thrown away before the close. Default 2 s. */
  lingerTimeout?: number;
  /** Bytes of one datagram; more is cut off and `truncated` set. Default 65536. */
  maxPacketSize?: number;
  /** Bytes read ahead of a handler, and written ahead of a client, for each connection. Default 64 KiB. */
  highWaterMark?: number;
  /** `serverClose()` waits for requests in progress. Default true. */
  blockOnClose?: boolean;
  /** Options of node:tls, for `TLSServer` and `upgradeTls()`. */
  tls?: TlsOptions;
  /** Expect a PROXY protocol header before anything else. Default false. */
  proxyProtocol?: ProxyProtocol;
  /** Runs after bind and before the first request; an error fails the start. */
  postListen?: (address: BoundAddress) => void | Promise<void>;
  /** Numbers of connections to be told of. */
  alarms?: Alarm[];
}

export const defaults = {
  concurrency: 'inline' as Concurrency,
  requestQueueSize: 511,
  timeout: 0,
  noDelay: true,
  keepAlive: false as boolean | number,
  allowHalfOpen: true,
  maxConnections: 16384,
  pendingConnections: 1024,
  pendingTimeout: 5_000,
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

type Check = (value: unknown) => string | undefined;

const boolean: Check = (value) => (typeof value === 'boolean' ? undefined : 'true or false');
const time: Check = (value) =>
  value === Infinity || (typeof value === 'number' && value >= 0 && value <= 0x7fffffff)
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
const anything: Check = () => undefined;
const object: Check = (value) => (typeof value === 'object' && value !== null ? undefined : 'an object');

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
  postListen: (value) => (typeof value === 'function' ? undefined : 'a function'),
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
    if (check === undefined)
      throw new OptionError('UNKNOWN_OPTION', `concurrency.${key}`, unknownOption(`concurrency.${key}`));
    const wrong = check(each);
    if (wrong !== undefined) return `one whose ${key} is ${wrong}`;
  }
  return undefined;
}

function unknownOption(name: string): string {
  return `there is no option "${name}"`;
}

/** Refuses unknown names and values that do not fit. */
export function checkOptions(options: ServerOptions): void {
  if (typeof options !== 'object' || options === null)
    throw new OptionError('INVALID_OPTION', 'options', `options must be an object, not ${String(options)}`);
  for (const [name, value] of Object.entries(options)) {
    const check = Object.hasOwn(checks, name) ? checks[name as keyof ServerOptions] : undefined;
    if (check === undefined) throw new OptionError('UNKNOWN_OPTION', name, unknownOption(name));
    if (value === undefined) continue;
    const wrong = check(value);
    if (wrong !== undefined)
      throw new OptionError('INVALID_OPTION', name, `option "${name}" must be ${wrong}, not ${show(value)}`);
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

/** What `setOptions()` may change while the server runs: everything that is not fixed at bind. */
const fixed = new Set<string>([
  'concurrency',
  'requestQueueSize',
  'allowReuseAddress',
  'signal',
  'postListen',
  'proxyProtocol',
  'maxPacketSize',
]);

export function checkChange(options: ServerOptions): void {
  checkOptions(options);
  const name = Object.keys(options).find((each) => fixed.has(each));
  if (name !== undefined)
    throw new OptionError(
      'INVALID_OPTION',
      name,
      `option "${name}" cannot change while the server runs: make a new server`,
    );
}
