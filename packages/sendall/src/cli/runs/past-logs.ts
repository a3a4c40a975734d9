/** Prints a host's output from the history: first its stdout, then its stderr, as their order is not kept. */
import type { Result, StreamName } from '../../index.js';
import type { PastRun } from '../../internal.js';
import type { Arguments } from '../words/command.js';
import { jsonLine } from '../show/control-characters.js';
import { decodersFor, outputJson, resultJson, unfinished } from '../show/event-json.js';
import { EXIT } from '../words/exit-codes.js';
import { reasonOf, say } from '../show/print.js';
import { finish, put, standardSinks } from '../show/sink.js';

export interface PastView {
  readonly from: number | 'end' | { readonly tail: number };
  /** @default both */
  readonly only: StreamName | undefined;
}

/** Resolves to the exit code: 206 when some of the output is not kept. */
export async function showPast(run: PastRun, host: string, view: PastView, args: Arguments): Promise<number> {
  const result = run.resultOn(host)!;
  const sinks = standardSinks();
  let failure: NodeJS.ErrnoException | undefined;
  for (const sink of new Set([sinks.out, sinks.err])) sink.on('error', (error) => (failure ??= error));
  const decoders = decodersFor(args.text('encoding'));
  let isWhole = true;
  for (const stream of ['stdout', 'stderr'] as const) {
    if (view.only && view.only !== stream) continue;
    const bytes = run.outputOn(host, stream);
    if (!bytes) {
      isWhole = false;
      say(`sendall: ${result.finals[stream]} bytes of ${stream} are not kept: ${whyNot(result, stream)}`);
      continue;
    }
    const offset = stream === 'stdout' ? startIn(bytes, view.from) : 0;
    const piece = { stream, offset, bytes: bytes.subarray(offset) };
    if (!piece.bytes.length) continue;
    if (args.on('json')) await put(sinks.out, `${jsonLine(outputJson(result, piece, decoders))}\n`);
    else
      await put(
        stream === 'stdout' ? sinks.out : sinks.err,
        decoders ? decoders[stream].decode(piece.bytes, { stream: true }) : piece.bytes,
      );
  }
  for (const piece of unfinished(decoders, result.finals))
    if (args.on('json')) await put(sinks.out, `${jsonLine(outputJson(result, piece))}\n`);
    else await put(piece.stream === 'stdout' ? sinks.out : sinks.err, piece.text);
  if (args.on('json')) await put(sinks.out, `${jsonLine(resultJson(result))}\n`);
  await finish(sinks);
  if (failure?.code === 'EPIPE') return EXIT.brokenPipe;
  if (failure) say(`sendall: cannot write the output: ${reasonOf(failure)}`);
  return failure || !isWhole ? EXIT.truncated : 0;
}

function startIn({ length }: Buffer, from: PastView['from']): number {
  if (from === 'end') return length;
  return typeof from === 'number' ? Math.min(from, length) : Math.max(0, length - from.tail);
}

function whyNot({ gaps }: Result, stream: StreamName): string {
  if (gaps.some((gap) => gap.stream === stream)) return 'some of them were missing';
  return 'they were more than --keep-output, or were removed since';
}
