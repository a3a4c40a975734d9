/** Downloads: a page asks for one, and its browser gets it by a path that works once. */
import type { ServerResponse } from 'node:http';
import { SendallError } from '../errors.js';
import type { Run, StreamName } from '../index.js';
import { secret, type Place } from './access.js';
import type { Ahead } from './ahead.js';
import type { ConsoleLimits } from './limits.js';
import type { Links } from './links.js';

export const DOWNLOADS = '/output/';

/** A stream of a run. */
export interface Download extends Place {
  readonly stream: StreamName;
  /** The name of the file. */
  readonly name: string;
  /** It is for a page that came by an address for watching. */
  readonly isWatched: boolean;
}

interface Sending {
  readonly links: Links;
  readonly ahead: Ahead;
  readonly limits: Pick<ConsoleLimits, 'downloadPause'>;
}

interface TicketLimits {
  readonly tickets: number;
  readonly watchTickets: number;
  readonly codeTime: number;
}

export class Tickets {
  readonly #limits: TicketLimits;
  /** Downloads under way. */
  readonly #begun = new Set<Download>();
  readonly #waiting = new Map<string, { readonly download: Download; readonly until: number }>();

  constructor(limits: TicketLimits) {
    this.#limits = limits;
  }

  /** The path of a download. @throws SendallError when there are too many that are not over. */
  issue(download: Download): string {
    const now = Date.now();
    for (const [ticket, { until }] of this.#waiting) if (until < now) this.#waiting.delete(ticket);
    const open = [...this.#begun, ...[...this.#waiting.values()].map((each) => each.download)];
    const refuse = (most: number, name: string): never => {
      throw new SendallError('LIMIT', `${most} downloads wait or are under way already (${name})`);
    };
    const { tickets, watchTickets } = this.#limits;
    if (open.length >= tickets) refuse(tickets, 'tickets');
    if (download.isWatched && open.filter(({ isWatched }) => isWatched).length >= watchTickets)
      refuse(watchTickets, 'watchTickets');
    const ticket = secret();
    this.#waiting.set(ticket, { download, until: now + this.#limits.codeTime });
    return `${DOWNLOADS}${ticket}`;
  }

  /** What this path gives, until `done`; undefined when it was used, is too old, or never was one. */
  redeem(path: string): Download | undefined {
    const ticket = path.slice(DOWNLOADS.length);
    const found = this.#waiting.get(ticket);
    this.#waiting.delete(ticket);
    if (!found || Date.now() > found.until) return undefined;
    this.#begun.add(found.download);
    return found.download;
  }

  /** A download is over. */
  done(download: Download): void {
    this.#begun.delete(download);
  }
}

/** Bytes of a stream that there were on attaching; Infinity when that is not told, so that only the run's end tells. */
export function writtenBefore({ past }: Run, stream: StreamName): number {
  return past?.endsKnown ? past.ends[stream] : Infinity;
}

/**
 * Sends what the run has written so far. If not all of it comes, the answer breaks off, so that nothing looks whole.
 * @throws SendallError when it breaks off
 */
export async function sendOutput(
  { host: name, runId, stream, name: file }: Download,
  { links, ahead, limits }: Sending,
  response: ServerResponse,
): Promise<void> {
  using lease = await links.use(name);
  // The browser has gone in the meantime, and nothing will tell of it again.
  if (response.destroyed) return;
  const share = ahead.take();
  const run = lease.host.attach(runId, { mode: 'observe', from: 'start', reject: false, readAhead: share.bytes });
  const leave = (): void => void run.detach().catch(() => undefined);
  // A silent run has no event that would tell of it.
  response.once('close', leave);
  try {
    await run.attached;
    const end = writtenBefore(run, stream);
    let at = 0;
    let isWhole = at >= end;
    response.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-disposition': `attachment; filename="${file}"`,
    });
    if (!isWhole)
      for await (const event of run.events()) {
        if (response.destroyed) return;
        if (event.event === 'output' && event.stream === stream) {
          // A gap: the file would miss bytes in its middle.
          if (event.offset !== at) throw new SendallError('GAP', `bytes ${at} to ${event.offset} are no longer kept`);
          at += event.bytes.length;
          if (!response.write(event.bytes)) await drained(response, limits.downloadPause);
        }
        if (event.event === 'result' && ['lost', 'truncated', 'unreachable', 'refused'].includes(event.result.outcome))
          throw new SendallError('TRUNCATED', event.result.reason);
        isWhole = event.event === 'result' || at >= end;
        if (isWhole) break;
      }
    if (!isWhole) throw new SendallError('TRUNCATED', `the output ended at byte ${at}, before its end`);
    response.end();
  } finally {
    response.off('close', leave);
    share.give();
    await run.detach().catch(() => undefined);
  }
}

/** Resolves when the browser has taken what waits, or has gone. @throws SendallError when it takes nothing for so long. */
async function drained(response: ServerResponse, ms: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      response.off('close', end).off('drain', end);
      resolve();
    };
    const timer = setTimeout(() => {
      reject(new SendallError('LIMIT', `the browser has taken nothing for ${ms / 1000} seconds (downloadPause)`));
      end();
    }, ms);
    response.once('close', end).once('drain', end);
  });
}
