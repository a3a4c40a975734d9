/**
 * The caller's side of warm links: asks the warm-links process for a link, or about itself.
 *
 * The process answers HELLO when it is linked to the host, and AUTH when the host has let it in. Where it had to dial, a
 * caller may use the time between the two for a first flight.
 */
import { hostname } from 'node:os';
import { RefusedError, UnreachableError, UsageError, type SendallError } from '../../errors.js';
import type { Home } from '../../home.js';
import { dial } from '../dial.js';
import { greet, isLinkError, type Greeting, type Remembered } from '../handshake.js';
import type { Link } from '../link.js';

/** The AUTH method with which a caller of the warm-links process begins. */
export const WARM = 'warm';

/** The link a caller wants. */
export interface Wanted {
  readonly url: string;
  readonly pin: string;
  /** The caller's identity by its name; absent: this user's own. */
  readonly identity?: string | undefined;
}

/** A link through the warm-links process. */
export interface WarmDialled {
  readonly link: Link;
  /** True if the process had to dial the host. */
  readonly isFresh: boolean;
  /** What the first flight needs to know, if the host has not let us in yet. */
  readonly remembered?: Remembered;
  /** Resolves when the host has let us in. */
  readonly greeting: Promise<Greeting>;
}

/** How the warm-links process is asked for a link. */
export interface WarmDialling {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly recall?: () => Remembered | undefined;
}

/** The status of the warm-links process. Round-trip times are in milliseconds. */
export interface WarmLinksStatus {
  readonly pid: number;
  readonly version: string;
  readonly links: readonly { readonly url: string; readonly callers: number; readonly rttMs: number | undefined }[];
}

/**
 * A link to a host through the warm-links process; undefined when no such process answers as it should. `recall` is asked
 * if the process had to dial. If it remembers the host, the link is returned before the host has let us in.
 * @throws UnreachableError or RefusedError when the process says so of the host.
 */
export async function dialWarm(
  home: Home,
  wanted: Wanted | undefined,
  { timeoutMs, signal, recall }: WarmDialling,
): Promise<WarmDialled | undefined> {
  let stop: (() => void) | undefined;
  try {
    const link = await dial(`unix:${home.linksSocket}`, { timeoutMs });
    stop = () => link.destroy(signal!.reason as Error);
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
    const proof = wanted && Buffer.from(JSON.stringify(wanted));
    let heard!: () => void;
    // The answers of a warm host come in one read: look at both before deciding.
    const linked = new Promise<undefined>((resolve) => (heard = () => setImmediate(resolve, undefined)));
    const greeting = greet(link, { method: WARM, name: hostname(), timeoutMs, heard, ...(proof ? { proof } : {}) });
    if (await Promise.race([greeting, linked])) return { link, isFresh: false, greeting };
    const remembered = recall?.();
    if (remembered) return { link, isFresh: true, remembered, greeting };
    await greeting;
    return { link, isFresh: true, greeting };
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    // What is wrong with our own files is our mistake, whichever process reads them.
    if (isLinkError(error as SendallError) && codeIn(error) === 'USAGE')
      throw new UsageError((error as Error).message, { cause: error });
    // Only statements about the host count. If the process is stuck, gone or of another version, we do without it.
    if (error instanceof RefusedError || (error instanceof UnreachableError && isLinkError(error))) throw error;
    return undefined;
  } finally {
    if (stop) signal?.removeEventListener('abort', stop);
  }
}

/**
 * Asks the warm-links process for its status, to close its links to a URL, or to end; undefined when none runs. Callers
 * whose link is closed dial again by themselves.
 */
export async function askWarmLinks(home: Home, what: 'status'): Promise<WarmLinksStatus | undefined>;
export async function askWarmLinks(home: Home, what: 'stop'): Promise<{ readonly pid: number } | undefined>;
export async function askWarmLinks(
  home: Home,
  what: 'close',
  url: string,
): Promise<{ readonly closed: number } | undefined>;
export async function askWarmLinks(home: Home, what: 'status' | 'stop' | 'close', url?: string): Promise<unknown> {
  const dialled = await dialWarm(home, undefined, { timeoutMs: 5000 });
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
    link.send({ type: 'ASK', alias: 0, opId: 1, what, body: url === undefined ? undefined : JSON.stringify(url) });
  });
}

/** The code of the LINK_ERROR behind an error. */
const codeIn = (error: unknown): string | undefined => ((error as Error).cause as { code?: string } | undefined)?.code;
