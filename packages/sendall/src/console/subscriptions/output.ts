/** A run's output and events: from its host, or what the history keeps of it. */
import type { AttachOptions, StreamName } from '../../index.js';
import type { PastRun } from '../../internal.js';
import { Attachment } from '../attachment.js';
import { historyOf, type Context } from '../context.js';
import type { Opened as OpenedValue, Subscribed } from '../messages.js';
import { toldResult } from '../past.js';
import type { Opened, Subscription } from '../subscription.js';
import type { Feed } from './feed.js';

/** Bytes of a terminal's session that are shown: more than any screen, and some lines above it. */
const SCREENS = 64 * 1024;
/** What may mean that only the history knows the run. */
const GONE: ReadonlySet<string> = new Set(['UNREACHABLE', 'REFUSED', 'LOST', 'UNKNOWN', 'KEY_CHANGED', 'USAGE']);

type Asked = Subscribed<'output'> & Pick<Subscribed<'terminal'>, 'cols' | 'rows'>;

export const output: Feed<'output'> = async (asked, sub, context) =>
  await open({ from: 'start', ...asked }, sub, context);

export const terminal: Feed<'terminal'> = async (asked, sub, context) =>
  await open({ from: { tail: SCREENS }, ...asked }, sub, context);

async function open(
  { host: name, runId, from, mode = 'watch', cols, rows }: Asked,
  sub: Subscription<'output'> | Subscription<'terminal'>,
  context: Context,
): Promise<Opened<OpenedValue<'output'>>> {
  try {
    const lease = await context.links.use(name);
    let leave = (): void => lease[Symbol.dispose]();
    try {
      const give = await sub.place();
      const share = context.ahead.take();
      leave = (): void => {
        share.give();
        give();
        lease[Symbol.dispose]();
      };
      const size = cols === undefined || rows === undefined ? undefined : { cols, rows };
      const attachment = new Attachment(lease.host, { host: name, runId, from, mode, size }, sub, share.bytes);
      const value = await attachment.open();
      sub.seat = attachment;
      return { value, begin: async () => await attachment.pass().finally(leave) };
    } catch (error) {
      leave();
      throw error;
    }
  } catch (error) {
    const past = historyOf(context).find(runId)?.run;
    const isGone = GONE.has(String((error as { code?: unknown }).code));
    if (!isGone || !past?.resultOn(name)) throw error;
    return fromHistory(past, name, from, sub);
  }
}

function fromHistory(
  past: PastRun,
  host: string,
  from: AttachOptions['from'],
  sub: Subscription<'output'> | Subscription<'terminal'>,
): Opened<OpenedValue<'output'>> {
  const result = past.resultOn(host)!;
  const kept = { stdout: past.outputOn(host, 'stdout'), stderr: past.outputOn(host, 'stderr') };
  const starts = { stdout: startIn(kept.stdout, from, 'stdout'), stderr: startIn(kept.stderr, from, 'stderr') };
  const begin = async () => {
    for (const stream of ['stdout', 'stderr'] as const) {
      const bytes = kept[stream];
      const to = result.finals[stream];
      if (bytes) await sendAll(bytes, starts[stream], stream, sub);
      else if (to > 0) await sub.event({ event: 'gap', stream, from: 0, to, reason: 'not kept in the history' });
    }
    await sub.event({ event: 'result', result: toldResult(result) });
  };
  const have = { stdout: result.finals.stdout, stderr: result.finals.stderr };
  const startMs = result.timing.startMs;
  return { value: { source: 'history', terminal: false, from: starts, have, startMs, control: false }, begin };
}

function startIn(bytes: Buffer | undefined, from: AttachOptions['from'], stream: StreamName): number {
  const length = bytes?.length ?? 0;
  if (from === undefined || from === 'start' || typeof from === 'number') return 0;
  if (from === 'end') return length;
  if ('tail' in from) return Math.max(0, length - from.tail);
  return Math.min((from as { stdout?: number; stderr?: number })[stream] ?? 0, length);
}

async function sendAll(
  bytes: Buffer,
  start: number,
  stream: StreamName,
  sub: Subscription<'output'> | Subscription<'terminal'>,
): Promise<void> {
  for (let offset = start; offset < bytes.length;) {
    const credit = await sub.credit(sub.signal);
    if (credit === 0) return;
    const piece = bytes.subarray(offset, offset + credit);
    await sub.output({ stream, offset, timeMs: undefined, bytes: piece });
    offset += piece.length;
  }
}
