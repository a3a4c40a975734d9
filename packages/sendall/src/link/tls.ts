/**
 * Links over the network: TLS 1.3, where both sides show a certificate and each checks the other's public key itself.
 * No authority, no names: Node's own verification is off, and the checks it then skips (the ALPN name, resumed
 * sessions, missing certificates) are made here, before we send or read any byte.
 */
import { constants } from 'node:crypto';
import type { OnReadOpts } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  connect,
  createSecureContext,
  type ConnectionOptions,
  type SecureContext,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import { RefusedError, SendallError, UnreachableError } from '../errors.js';
import { ALPN } from '../protocol/messages.js';
import { formatTlsUrl, type TlsAddress } from '../text/address.js';
import { fingerprintOf } from '../keys/fingerprint.js';
import type { Identity } from '../keys/identity.js';
import { afterReading } from '../timer.js';

/** The key at the other end. */
export interface Peer {
  /** Public key, DER (SubjectPublicKeyInfo). TLS has proved that the peer holds its private half. */
  readonly spki: Buffer;
  readonly fingerprint: string;
}

/** The key, versions and ciphers of either side. */
const ownSide = ({ key, cert }: Identity) => ({
  key,
  cert,
  minVersion: 'TLSv1.3' as const,
  maxVersion: 'TLSv1.3' as const,
  // The fastest on processors with AES, and mandatory in TLS 1.3; ChaCha20 for the others.
  ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384',
});

const terms = {
  ALPNProtocols: [ALPN],
  // Keys are compared by pin in acceptPeer and dialTls.
  rejectUnauthorized: false,
};

/** Options for a TLS server. Pass every connection to `acceptPeer` once its handshake is done. */
export function serverTls(identity: Identity): TlsOptions {
  // Without tickets no session can be resumed; a resumed session shows no certificate.
  return { ...ownSide(identity), ...terms, requestCert: true, secureOptions: constants.SSL_OP_NO_TICKET };
}

const contexts = new WeakMap<Identity, SecureContext>();

/** A caller's side, made once for each key: it takes longer than the rest of a dial before the handshake. */
function callerSide(identity: Identity): SecureContext {
  let context = contexts.get(identity);
  if (!context) contexts.set(identity, (context = createSecureContext(ownSide(identity))));
  return context;
}

/**
 * The caller's key, once the handshake is done. The session decides whether the key is known.
 * @throws RefusedError when it showed no certificate, resumed a session (which shows none) or did not ask for our
 * protocol.
 */
export function acceptPeer(socket: TLSSocket): Peer {
  if (socket.getProtocol() !== 'TLSv1.3')
    throw new RefusedError(`the caller speaks ${socket.getProtocol()}, not TLS 1.3`);
  if (socket.alpnProtocol !== ALPN) throw new RefusedError(`the caller did not ask for the protocol ${ALPN}`);
  if (socket.isSessionReused()) throw new RefusedError('the caller resumed a TLS session, which proves no key');
  let spki: Buffer | undefined;
  try {
    spki = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' });
  } catch (cause) {
    throw new RefusedError(`the key in the caller's certificate cannot be read`, { cause });
  }
  if (!spki) throw new RefusedError('the caller showed no certificate, so it has no key');
  return { spki, fingerprint: fingerprintOf(spki) };
}

/** Binds a proof to this connection only. Source: RFC 8446 section 7.5, RFC 5705. */
export function exportBinding(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(32, 'EXPORTER-sendall-pair', Buffer.alloc(0));
}

/** A stream that leads to an agent, and the agent's address for messages. */
export interface Carried {
  readonly stream: Duplex;
  readonly url: string;
}

export type DialOptions = (TlsAddress | Carried) & {
  readonly identity: Identity;
  /** The agent's fingerprint. Without it any key is accepted, for pairing only. */
  readonly pin?: string | undefined;
  /**
   * Milliseconds for the name look-up, the connection and the handshake together. 0: no limit.
   * @default 5000
   */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Reads into the caller's memory; see SharedReads. */
  readonly onread?: OnReadOpts | undefined;
};

const WHY: Record<string, string> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'no such host name',
  EAI_AGAIN: 'the name could not be looked up',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no route to the network',
  ETIMEDOUT: 'no answer',
};

/** Resources missing on this side; the address is not to blame. */
const WANTING: Record<string, string> = {
  EMFILE: 'this process may not open more files (EMFILE); raise its limit, for example with "ulimit -n 1024"',
  ENFILE: 'this machine may not open more files (ENFILE); raise fs.file-max, or end processes that hold many',
  EADDRNOTAVAIL: 'no local port is free (EADDRNOTAVAIL); try again when other connections have ended',
};

/** A sentence for why a connection failed. `connected`: TCP succeeded, so TLS failed. */
function dialError(url: string, error: NodeJS.ErrnoException, connected: boolean): SendallError {
  // The stream's own reason.
  if (error instanceof SendallError) return error;
  const code = error.code ?? '';
  const wanting = Object.hasOwn(WANTING, code) ? WANTING[code] : undefined;
  if (wanting) return new UnreachableError(`no connection to ${url} can be made: ${wanting}`, { cause: error });
  if (!connected)
    return new UnreachableError(
      `${url} cannot be reached: ${WHY[code] ?? error.message}; check the address, and that sendall agent --listen ${url} runs there`,
      { cause: error },
    );
  // OpenSSL's own errors: bytes that are not TLS, an older TLS, or another ALPN name.
  if (code.startsWith('ERR_SSL_') || code === 'EPROTO') return notAnAgent(url, error);
  return new UnreachableError(
    `${url} closed the connection before the TLS handshake was done: check the port, or try again later`,
    { cause: error },
  );
}

function notAnAgent(url: string, cause?: Error): UnreachableError {
  return new UnreachableError(`the server at ${url} is not a sendall agent: check the port`, { cause });
}

/**
 * Connects to an agent and checks its key before sending anything. The socket is paused and unread.
 * @throws UnreachableError when no agent answers in time.
 * @throws RefusedError when the key is not the pinned one.
 * @throws the signal's reason when the signal was aborted.
 */
export function dialTls(options: DialOptions): Promise<{ socket: TLSSocket; peer: Peer }> {
  const { identity, pin, timeoutMs = 5000, signal, onread } = options;
  const carried = 'stream' in options;
  const url = carried ? options.url : formatTlsUrl(options);
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    let connected = carried;
    const socket = connect({
      secureContext: callerSide(identity),
      ...terms,
      ...(carried ? { socket: options.stream } : { host: options.host, port: options.port }),
      ...(onread ? { onread } : {}),
    } as ConnectionOptions);
    const settle = () => {
      cease?.();
      signal?.removeEventListener('abort', abort);
      socket.off('close', ended);
    };
    const fail = (error: unknown) => {
      settle();
      socket.destroy();
      reject(error as Error);
    };
    const abort = () => fail(signal?.reason);
    const ended = () => fail(dialError(url, new Error('it closed the connection'), connected));
    const silent = () => {
      const what = connected ? 'connected, but did not finish the TLS handshake' : 'did not answer';
      fail(new UnreachableError(`${url} ${what} within ${timeoutMs} ms; check the address, or give it more time`));
    };
    const cease = timeoutMs ? afterReading(timeoutMs, silent) : undefined;
    signal?.addEventListener('abort', abort, { once: true });
    socket.once('connect', () => (connected = true));
    // Never removed: an error before the link listens must not end the process.
    socket.on('error', (error) => fail(dialError(url, error, connected)));
    socket.once('close', ended);
    socket.once('secureConnect', () => {
      try {
        const peer = checkAgent(socket, url, pin);
        settle();
        socket.setNoDelay(true);
        resolve({ socket, peer });
      } catch (error) {
        fail(error);
      }
    });
  });
}

function checkAgent(socket: TLSSocket, url: string, pin: string | undefined): Peer {
  const certificate = socket.getPeerX509Certificate();
  if (socket.alpnProtocol !== ALPN || socket.isSessionReused() || !certificate) throw notAnAgent(url);
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  const fingerprint = fingerprintOf(spki);
  if (pin !== undefined && fingerprint !== pin)
    throw new RefusedError(
      `the key at ${url} has changed: pinned ${pin}, seen ${fingerprint}; ` +
        'if that machine was reinstalled, pair again with a code from its sendall pair --new; if not, the connection may be intercepted',
    );
  return { spki, fingerprint };
}
