/** The caller's side of warm links: asks the warm-links process for a link, or about itself. */
import { hostname } from 'node:os';
import { RefusedError, UnreachableError } from '../../errors.js';
import type { Home } from '../../home.js';
import { dial } from '../dial.js';
import { greet, isLinkError, type Greeting } from '../handshake.js';
import type { Link } from '../link.js';

/** The AUTH method with which a caller of the warm-links process begins. */
export const WARM = 'warm';

/** The link a caller wants. */
export interface Wanted {
  readonly url: string;
  readonly pin: string;
}

/** The status of the warm-links process. Round-trip times are in milliseconds. */
export interface WarmLinksStatus {
  readonly pid: number;
  readonly version: string;
  readonly links: readonly { readonly url: string; readonly callers: number; readonly rttMs: number | undefined }[];
}

/**
 * A link to a host through the warm-links process; undefined when no such process answers as it should.
 * @throws UnreachableError or RefusedError when the process says so of the host.
 */
export async function dialWarm(
  home: Home,
  wanted: Wanted | undefined,
  timeoutMs: number,
): Promise<{ link: Link; greeting: Greeting } | undefined> {
  try {
    const link = await dial(`unix:${home.linksSocket}`, { timeoutMs });
    const proof = wanted && Buffer.from(JSON.stringify(wanted));
    return {
      link,
      greeting: await greet(link, { method: WARM, name: hostname(), timeoutMs, ...(proof ? { proof } : {}) }),
    };
  } catch (error) {
    // Only statements about the host count. If the process is stuck, gone or of another version, we do without it.
    if (error instanceof RefusedError || (error instanceof UnreachableError && isLinkError(error))) throw error;
    return undefined;
  }
}

/** Asks the warm-links process for its status, or to end; undefined when none runs. */
export async function askWarmLinks(home: Home, what: 'status'): Promise<WarmLinksStatus | undefined>;
export async function askWarmLinks(home: Home, what: 'stop'): Promise<{ readonly pid: number } | undefined>;
export async function askWarmLinks(home: Home, what: 'status' | 'stop'): Promise<unknown> {
  const dialled = await dialWarm(home, undefined, 5000);
  if (!dialled) return undefined;
  const { link } = dialled;
  return await new Promise((resolve) => {
    link.handOver({
      message(message) {
        if (message.type !== 'ANSWER') return;
        resolve(JSON.parse(message.body ?? '{}'));
        link.close();
      },
      closed: () => resolve(undefined),
    });
    link.send({ type: 'ASK', alias: 0, opId: 1, what });
  });
}
