/** The caller's side of warm links: asks the process that holds them for one. */
import { hostname } from 'node:os';
import { RefusedError, UnreachableError } from '../errors.js';
import type { Home } from '../home.js';
import { dial } from './dial.js';
import { greet, type Greeting } from './handshake.js';
import type { Link } from './link.js';

/** Which link is wanted. */
export interface Wanted {
  readonly url: string;
  readonly pin: string;
}

/**
 * A link to a host through the process that holds warm links; undefined when there is no such process, or when it does
 * not answer as it should. Throws what that process says of the host: UnreachableError or RefusedError.
 */
export async function dialRelay(
  home: Home,
  wanted: Wanted | undefined,
  timeoutMs: number,
): Promise<{ link: Link; greeting: Greeting } | undefined> {
  try {
    const link = await dial(`unix:${home.linksSocket}`, { timeoutMs });
    const proof = wanted && Buffer.from(JSON.stringify(wanted));
    return {
      link,
      greeting: await greet(link, { method: 'relay', name: hostname(), timeoutMs, ...(proof ? { proof } : {}) }),
    };
  } catch (error) {
    // Only words about the host count; a holder that is stuck, gone or another version is done without.
    if (error instanceof RefusedError || isLinkError(error)) throw error;
    return undefined;
  }
}

/** The holder said it, and not the lack of an answer. */
function isLinkError(error: unknown): boolean {
  return error instanceof UnreachableError && (error.cause as { type?: string } | undefined)?.type === 'LINK_ERROR';
}

/** Asks the holder of warm links about itself; undefined when none runs. */
export async function askRelay<T>(home: Home, what: 'status' | 'stop'): Promise<T | undefined> {
  const dialled = await dialRelay(home, undefined, 5000);
  if (!dialled) return undefined;
  const { link } = dialled;
  return await new Promise((resolve) => {
    link.handOver({
      message(message) {
        if (message.type !== 'ANSWER') return;
        resolve(JSON.parse(message.body ?? '{}') as T);
        link.close();
      },
      closed: () => resolve(undefined),
    });
    link.send({ type: 'ASK', alias: 0, opId: 1, what });
  });
}
