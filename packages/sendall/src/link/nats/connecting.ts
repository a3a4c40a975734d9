/** Connects to a server of the broker: credentials, TLS, the pauses between attempts, and what a server must offer. */
import type { ConnectionOptions, NatsConnection } from '@nats-io/transport-node';
import { RefusedError, SendallError, UnreachableError, UsageError } from '../../errors.js';
import { readBrokerProof, type Engine } from '../../keys/engine.js';
import { parseNatsUrl } from '../../text/nats-address.js';
import { printable } from '../../text/printable.js';
import { abortable } from './abortable.js';

/** The smallest `max_payload` of a server that links can work with. */
export const MIN_PAYLOAD = 16 * 1024;
/** The oldest server that is tested: it tells a sender, across a cluster too, that nothing listens. */
const OLDEST = [2, 9] as const;
/** The longest pause between two attempts to connect again, and the first one. */
const LONGEST_PAUSE = 30_000;
const FIRST_PAUSE = 250;

/**
 * Connects to one of the servers; later losses are mended by the library. `timeoutMs`: 0 for no limit.
 * @throws UnreachableError when none answers in time.
 * @throws RefusedError when the servers do not let us in, are too old or allow too small messages.
 * @throws UsageError when a file of credentials is missing or wrong.
 */
export async function connectTo(engine: Engine, timeoutMs: number): Promise<{ nats: NatsConnection; outage: Outage }> {
  const { servers } = parseNatsUrl(engine.url);
  const library = await loadLibrary();
  // Files that are wrong are known before anything is sent.
  readBrokerProof(engine);
  const outage: Outage = { since: performance.now() };
  const connecting = library.connect({
    servers: [...servers],
    authenticator: authenticatorOf(engine, library),
    ...tlsOf(engine),
    timeout: timeoutMs || 0x7fff_ffff,
    maxReconnectAttempts: -1,
    // Credentials may be renewed meanwhile.
    ignoreAuthErrorAbort: true,
    reconnectTimeWait: 0,
    reconnectDelayHandler: () => pauseAfter(outage.since),
    noAsyncTraces: true,
  });
  try {
    const nats = await abortable(connecting, timeoutMs ? AbortSignal.timeout(timeoutMs) : undefined);
    checkServer(engine.url, nats);
    return { nats, outage };
  } catch (error) {
    connecting.then(
      (nats) => void nats.close(),
      () => undefined,
    );
    throw connectError(engine.url, error as Error);
  }
}

type Library = typeof import('@nats-io/transport-node');

async function loadLibrary(): Promise<Library> {
  try {
    return await import('@nats-io/transport-node');
  } catch (cause) {
    throw new UsageError('links through a broker need the package @nats-io/transport-node: npm install it', { cause });
  }
}

function authenticatorOf(engine: Engine, library: Library): NonNullable<ConnectionOptions['authenticator']> {
  return (nonce?: string) => {
    const proof = readBrokerProof(engine);
    if (proof.kind === 'password') return { user: proof.user, pass: proof.password };
    if (proof.kind === 'nkey') return library.nkeyAuthenticator(Buffer.from(proof.seed))(nonce);
    if (proof.kind === 'creds') return library.credsAuthenticator(Buffer.from(proof.text))(nonce);
    return {} as never;
  };
}

function tlsOf({ tlsCa, tlsCert, tlsKey }: Engine): Pick<ConnectionOptions, 'tls'> {
  if (tlsCa === undefined && tlsCert === undefined) return {};
  return {
    tls: {
      ...(tlsCa === undefined ? {} : { caFile: tlsCa }),
      ...(tlsCert === undefined ? {} : { certFile: tlsCert }),
      ...(tlsKey === undefined ? {} : { keyFile: tlsKey }),
    },
  };
}

/** When the connection was lost. */
export interface Outage {
  since: number;
}

/** A pause before the next attempt. It grows with the outage and is random: a fleet does not come back all at once. */
function pauseAfter(since: number): number {
  const lasted = performance.now() - since;
  return Math.round(Math.random() * Math.min(LONGEST_PAUSE, Math.max(FIRST_PAUSE, lasted)));
}

/** @throws RefusedError for a server that links cannot work with. */
export function checkServer(url: string, nats: NatsConnection): void {
  const { version = '0', max_payload: payload = 0 } = nats.info ?? {};
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
    throw new RefusedError(
      `the broker at ${url} is nats-server ${printable(version, 20)}: links need ${OLDEST.join('.')} or newer`,
    );
  if (payload < MIN_PAYLOAD)
    throw new RefusedError(
      `the broker at ${url} allows messages of ${payload} bytes (max_payload): links need ${MIN_PAYLOAD}`,
    );
}

function connectError(url: string, error: Error): SendallError {
  if (error instanceof SendallError) return error;
  const causes = [error, ...((error as { errors?: Error[] }).errors ?? []), error.cause].filter(
    (each) => each instanceof Error,
  );
  const names = causes.map(({ name }) => name);
  if (names.some((name) => name === 'AuthorizationError' || name === 'UserAuthenticationExpiredError'))
    return new RefusedError(`the broker at ${url} does not let us in: check the credentials (--creds, --nkey)`, {
      cause: error,
    });
  const own = causes.find((each) => each instanceof SendallError);
  if (own) return own;
  const why = printable(causes.map(({ message }) => message).find((text) => text) ?? 'no answer', 200);
  return new UnreachableError(`the broker at ${url} cannot be reached: ${why}`, { cause: error });
}
