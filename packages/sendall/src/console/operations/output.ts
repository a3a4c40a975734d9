/** Looks through the output of a run on its host, and hands it out as a file. */
import type { RunEvent } from '../../index.js';
import type { Asked, Value } from '../messages.js';
import { writtenBefore } from '../tickets.js';
import type { Answer } from './answer.js';

/** Matches that are told at once. */
const USUAL = 100;
/** Bytes of a line before a match, and of the whole. */
const BEFORE = 60;
const LONGEST_LINE = 200;
const NEWLINE = 0x0a;

export const search: Answer<'search'> = async (
  { host: name, runId, stream, text, from = 0, limit = USUAL },
  context,
  { signal },
) => {
  using lease = await context.links.use(name);
  const share = context.ahead.take();
  const run = lease.host.attach(runId, {
    mode: 'observe',
    from: stream === 'stdout' ? { stdout: from } : { stderr: from },
    readAhead: share.bytes,
    reject: false,
  });
  const leave = (): void => void run.detach().catch(() => undefined);
  signal.addEventListener('abort', leave, { once: true });
  try {
    await run.attached;
    const finder = new Finder(Buffer.from(text), from, limit);
    const end = Math.min(writtenBefore(run, stream), from + context.limits.searchedBytes);
    if (finder.end >= end || signal.aborted) return finder.found(false);
    for await (const event of run.events()) {
      if (isPiece(event, stream) && finder.add(event.bytes, event.offset)) break;
      if (event.event === 'result' || finder.end >= end) break;
    }
    return finder.found(finder.isFull || finder.end >= from + context.limits.searchedBytes);
  } finally {
    signal.removeEventListener('abort', leave);
    share.give();
    await run.detach().catch(() => undefined);
  }
};

const isPiece = (event: RunEvent, stream: Asked<'search'>['stream']): event is Extract<RunEvent, { event: 'output' }> =>
  event.event === 'output' && event.stream === stream;

/** Finds a text in pieces of a stream. */
export class Finder {
  /** Offset behind the last piece. */
  end: number;
  readonly #wanted: Buffer;
  readonly #from: number;
  readonly #limit: number;
  readonly #hits: { offset: number; line: string }[] = [];
  /** The end of the last piece: a match may begin in it, and lines of matches do. */
  #kept = Buffer.alloc(0);
  #next: number;

  constructor(wanted: Buffer, from: number, limit: number) {
    this.#wanted = wanted;
    this.#from = this.end = this.#next = from;
    this.#limit = limit;
  }

  get isFull(): boolean {
    return this.#hits.length >= this.#limit;
  }

  /** True when there are as many matches as are wanted. */
  add(piece: Uint8Array, offset: number): boolean {
    // Bytes are missing in between, or it begins before what was asked for.
    if (offset !== this.end) this.#kept = Buffer.alloc(0);
    const base = offset - this.#kept.length;
    const bytes = Buffer.concat([this.#kept, piece]);
    let at = Math.max(0, this.#next - base);
    for (at = bytes.indexOf(this.#wanted, at); at >= 0 && !this.isFull; at = bytes.indexOf(this.#wanted, at)) {
      if (base + at >= this.#from) this.#hits.push({ offset: base + at, line: lineAround(bytes, at) });
      at += this.#wanted.length;
      this.#next = base + at;
    }
    this.end = offset + piece.length;
    const keep = Math.max(this.#wanted.length - 1, BEFORE);
    this.#next = Math.max(this.#next, this.end - this.#wanted.length + 1);
    this.#kept = Buffer.from(bytes.subarray(Math.max(0, bytes.length - keep)));
    return this.isFull;
  }

  /** `more`: not all was searched. */
  found(more: boolean): Value<'search'> {
    const last = this.#hits.at(-1);
    const next = this.isFull && last ? last.offset + this.#wanted.length : this.#next;
    return { hits: this.#hits, next: more ? next : undefined };
  }
}

/** The line with a match, cut where it is long, or where the piece ends. */
function lineAround(bytes: Buffer, at: number): string {
  const start = Math.max(bytes.lastIndexOf(NEWLINE, at - 1) + 1, at - BEFORE, 0);
  const newline = bytes.indexOf(NEWLINE, at);
  const end = Math.min(newline < 0 ? bytes.length : newline, start + LONGEST_LINE);
  return bytes.toString('utf8', start, end);
}

export const download: Answer<'download'> = async ({ host, runId, stream }, { tickets }, { onlyWatches }) => {
  const name = `${host.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 64)}-${runId}.${stream}`;
  return { path: tickets.issue({ host, runId, stream, name, isWatched: onlyWatches }), name };
};
