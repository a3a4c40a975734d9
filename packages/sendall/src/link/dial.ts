/** Makes a link according to the URL's scheme. */
import { lstatSync } from 'node:fs';
import { connect as netConnect } from 'node:net';
import { SendallError, UnreachableError, UsageError } from '../errors.js';
import { MAX_SOCKET_PATH } from '../home.js';
import { parseTlsUrl } from '../text/address.js';
import { isNatsHost, NO_ENGINE } from '../text/nats-address.js';
import type { Engine } from '../keys/engine.js';
import type { Identity } from '../keys/identity.js';
import { Link } from './link.js';
import { SharedReads } from './shared-reads.js';
import { afterReading } from '../timer.js';

export interface DialOptions {
  /** The SPKI fingerprint the host must show; not for Unix sockets. */
  pin?: string | undefined;
  /** Our own key; not for Unix sockets. */
  identity?: () => Promise<Identity>;
  /** The broker for nats: addresses. */
  engine?: () => Engine | undefined;
  /** Runs wait for this link: it goes before others when many are dialled through a broker. */
  urgent?: boolean | undefined;
  /**
   * Milliseconds for the connection and its handshake.
   * @default 5000
   */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

/**
 * Dials `unix:/path`, `tls://host:port` or `nats:id`.
 * @throws UnreachableError, RefusedError or UsageError.
 */
export async function dial(url: string, options: DialOptions = {}): Promise<Link> {
  if (url.startsWith('unix:')) return await dialUnix(url.slice('unix:'.length), options);
  if (url.startsWith('tls://')) {
    if (!options.identity || !options.pin) throw new UsageError(`${url} needs a pinned key: pair with it first`);
    const { host, port } = parseTlsUrl(url);
    // Loaded on demand: calling this machine's own agent does not need node:tls.
    const { dialTls } = await import('./tls.js');
    const reads = new SharedReads();
    const { socket } = await dialTls({
      onread: reads.onread,
      host,
      port,
      identity: await options.identity(),
      pin: options.pin,
      timeoutMs: options.timeoutMs ?? 5000,
      ...(options.signal ? { signal: options.signal } : {}),
    });
    return new Link(socket, reads);
  }
  if (isNatsHost(url)) {
    if (!options.identity || !options.pin) throw new UsageError(`${url} needs a pinned key: pair with it first`);
    const engine = options.engine?.();
    if (!engine) throw new UsageError(NO_ENGINE);
    const { dialNats } = await import('./nats/dial.js');
    const { pin, timeoutMs, signal, urgent } = options;
    const { socket } = await dialNats({
      url,
      engine,
      identity: await options.identity(),
      pin,
      timeoutMs,
      signal,
      urgent,
    });
    return new Link(socket);
  }
  throw new UsageError(`"${url}" is not an address: use tls://HOST:PORT, nats:ID or unix:/path`);
}

function dialUnix(path: string, options: DialOptions): Promise<Link> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH)
    throw new UsageError(
      `the socket path ${path} is longer than ${MAX_SOCKET_PATH} bytes: set SENDALL_HOME to a shorter folder`,
    );
  checkOwner(path);
  return new Promise((resolve, reject) => {
    const reads = new SharedReads();
    const socket = netConnect({ path, onread: reads.onread });
    const cease = afterReading(options.timeoutMs ?? 5000, () => socket.destroy(new Error('timed out')));
    socket.once('connect', () => {
      cease();
      resolve(new Link(socket, reads));
    });
    // Never removed: an error before the link listens must not end the process.
    socket.on('error', (error: NodeJS.ErrnoException) => {
      cease();
      reject(unixError(path, error));
    });
  });
}

/** Another user could put a socket there to receive our commands. */
function checkOwner(path: string): void {
  let owner: number;
  try {
    owner = lstatSync(path).uid;
  } catch (error) {
    throw unixError(path, error as NodeJS.ErrnoException);
  }
  const uid = process.getuid?.();
  if (uid !== undefined && owner !== uid && owner !== 0)
    throw new UsageError(`the socket ${path} belongs to user ${owner}, not to you: it is not your agent`);
}

const NEXT_STEPS: Readonly<Record<string, string>> = {
  EACCES: 'it is for another user: set SENDALL_HOME to a folder of your own',
  ENOTDIR: 'a part of its path is a file: set SENDALL_HOME to a folder of your own',
};

function unixError(path: string, error: NodeJS.ErrnoException): SendallError {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED')
    return new UnreachableError(`no agent runs on this machine (${path}): start one with "sendall agent"`, {
      cause: error,
    });
  const next = NEXT_STEPS[error.code ?? ''];
  const why = next ? `${error.code}; ${next}` : error.message;
  return new UnreachableError(`the agent's socket ${path} cannot be opened: ${why}`, { cause: error });
}
