/**
 * The first messages on a link: the protocol version, and who is calling. The caller's half. A caller that knows the host
 * sends its first commands along with them, in one flight.
 */
import { ProtocolError, RefusedError, SendallError, UnreachableError } from '../errors.js';
import { PROTOCOL_VERSION, type MessageNamed } from '../protocol/messages.js';
import { randomPiece } from '../protocol/run-id.js';
import { VERSION } from '../protocol/version.js';
import { callerEndsOf } from './ends.js';
import type { Link } from './link.js';
import { afterReading } from '../timer.js';

export interface Greeting {
  readonly auth: MessageNamed<'AUTH_OK'>;
  /** The agent's clock at that moment, in milliseconds since the epoch. */
  readonly clockMs: number;
  /** That moment, on the clock of `performance.now()`. */
  readonly at: number;
}

/** A feature of HELLO: several callers share the link, and a fault in one run may end only that run. */
export const SHARED = 'shared';

/** What a caller remembers of a host between two links. */
export interface Remembered {
  /** Names the host's journal. */
  readonly epoch: Uint8Array;
  /** The host's clock minus `performance.now()`, in milliseconds. */
  readonly clockAheadMs: number;
}

/** What a host's greeting leaves to remember. */
export function rememberedOf({ auth, clockMs, at }: Greeting): Remembered {
  return { epoch: auth.epoch, clockAheadMs: clockMs - at };
}

export function helloMessage(name: string, features: readonly string[] = []): MessageNamed<'HELLO'> {
  return {
    type: 'HELLO',
    alias: 0,
    protoMin: PROTOCOL_VERSION,
    protoMax: PROTOCOL_VERSION,
    name,
    nonce: randomPiece(16),
    features,
    clockMs: Date.now(),
    version: VERSION,
  };
}

/**
 * Sends HELLO and AUTH, and waits for both answers; what is sent on the link meanwhile follows them. A TLS 1.3 client sees
 * "connected" before the server has judged its certificate, so only AUTH_OK means that the agent accepts us.
 * @throws RefusedError when the agent refuses, UnreachableError when it closes the link or does not answer for
 * `timeoutMs`.
 */
export function greet(
  link: Link,
  options: {
    method: string;
    name: string;
    timeoutMs: number;
    proof?: Uint8Array;
    features?: readonly string[];
    /** Called when HELLO was answered. */
    heard?: () => void;
  },
): Promise<Greeting> {
  return new Promise((resolve, reject) => {
    let greeted = false;
    const fail = (error: Error) => {
      cease();
      reject(error);
      link.destroy();
    };
    const cease = afterReading(options.timeoutMs, () =>
      fail(new UnreachableError(`the agent did not answer within ${options.timeoutMs} ms`)),
    );
    link.start({
      message(message) {
        if (message.type === 'HELLO_OK') {
          greeted = true;
          options.heard?.();
        } else if (message.type === 'AUTH_OK' && greeted) {
          cease();
          link.trust();
          // Later messages are for the link's next owner.
          link.hold();
          resolve({ auth: message, clockMs: message.clockMs ?? Date.now(), at: performance.now() });
        } else if (message.type === 'LINK_ERROR') fail(linkError(message));
        else if (message.type === 'GOAWAY') fail(new UnreachableError(message.reason));
        else fail(new ProtocolError(`the agent sent ${message.type} before it let us in`));
      },
      closed: (error) =>
        fail(
          error instanceof SendallError
            ? error
            : new UnreachableError(`the agent closed the link${error ? `: ${error.message}` : ' without a word'}`),
        ),
    });
    link.send(helloMessage(options.name, options.features));
    // Of several callers, each comes back by itself.
    const ends = options.features?.includes(SHARED) ? undefined : callerEndsOf(link.stream);
    link.send({ type: 'AUTH', alias: 0, method: options.method, proof: options.proof, ends });
  });
}

/** The error for a peer's LINK_ERROR. */
export function linkError(message: MessageNamed<'LINK_ERROR'>): SendallError {
  const because = { cause: message };
  if (message.code === 'PROTOCOL') return new ProtocolError(`the peer refused our bytes: ${message.message}`, because);
  // Sent by the warm-links process, and by an agent that is stopping.
  if (message.code === 'UNREACHABLE' || message.code === 'CLOSED')
    return new UnreachableError(message.message, because);
  return new RefusedError(message.message, because);
}

/** The peer itself ended the link and said why. Before AUTH_OK this means that it took nothing of the first flight. */
export function isLinkError(error: SendallError): boolean {
  return (error.cause as { type?: string } | undefined)?.type === 'LINK_ERROR';
}
