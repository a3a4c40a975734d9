/** Events and results in the format of --json. */
import type { HostStateEvent, Result, RunEvent, StreamName } from '../../index.js';
import { TextStream } from './text-stream.js';

type OutputEvent = Extract<RunEvent, { event: 'output' }>;
export type Decoders = Readonly<Record<StreamName, TextStream>>;

/** Streaming decoders for the two streams of a run: a piece may end in the middle of a character. */
export function decodersFor(encoding: string | undefined): Decoders | undefined {
  if (encoding === undefined) return undefined;
  return { stdout: new TextStream(encoding), stderr: new TextStream(encoding) };
}

interface Named {
  readonly host: string;
  readonly runId: string;
}
type Output = Pick<OutputEvent, 'stream' | 'offset' | 'order'> &
  ({ readonly bytes: Buffer } | { readonly text: string });

/** A piece of output: `text` when it is whole UTF-8 or was decoded, else `base64`. */
export function outputJson({ host, runId }: Named, piece: Output, decoders?: Decoders): object {
  const head = { event: 'output', host, runId, stream: piece.stream, offset: piece.offset, order: piece.order };
  if ('text' in piece) return { ...head, text: piece.text };
  if (decoders) return { ...head, text: decoders[piece.stream].decode(piece.bytes, { stream: true }) };
  const text = piece.bytes.toString();
  return text.includes('\ufffd') && !Buffer.from(text).equals(piece.bytes)
    ? { ...head, base64: piece.bytes.toString('base64') }
    : { ...head, text };
}

/** The incomplete characters left in decoders at the end. `ends`: where the streams end. */
export function* unfinished(decoders: Decoders | undefined, ends: Readonly<Record<StreamName, number>>) {
  for (const stream of ['stdout', 'stderr'] as const) {
    const text = decoders?.[stream].decode();
    if (text) yield { stream, offset: ends[stream], text };
  }
}

/** Any other event. */
export function eventJson(
  { host, runId }: Named,
  event: Exclude<RunEvent, OutputEvent> | Omit<HostStateEvent, keyof Named>,
): object {
  if (event.event === 'result') return resultJson(event.result);
  const { event: name, ...rest } = event;
  return { event: name, host, runId, ...rest };
}

export function resultJson(result: Result): object {
  const {
    host,
    runId,
    outcome,
    cause,
    code,
    signal,
    finals,
    sha256,
    timing,
    survivors,
    refusal,
    reason,
    gaps,
    killProof,
  } = result;
  const { stdoutFrom, stderrFrom, log } = result;
  return {
    event: 'result',
    host,
    runId,
    outcome,
    ...(cause === undefined ? {} : { cause }),
    code: code ?? null,
    signal: signal ?? null,
    stdoutBytes: finals.stdout,
    stderrBytes: finals.stderr,
    ...(sha256.stdout === undefined ? {} : { stdoutSha256: sha256.stdout, stderrSha256: sha256.stderr }),
    ...(stdoutFrom === undefined ? {} : { stdoutFrom }),
    ...(stderrFrom === undefined ? {} : { stderrFrom }),
    durationMs: timing.durationMs,
    survivors,
    ...(killProof === undefined ? {} : { killProof }),
    ...(log === undefined ? {} : { log }),
    ...(gaps.length ? { gaps } : {}),
    ...(refusal === undefined ? {} : { refusal }),
    ...(outcome === 'ok' ? {} : { reason }),
  };
}

/** A host we never reached, in the shape of a result. */
export function unreachedJson({ host, runId }: Named, outcome: 'unreachable' | 'refused', reason: string): object {
  return {
    event: 'result',
    host,
    runId,
    outcome,
    code: null,
    signal: null,
    stdoutBytes: 0,
    stderrBytes: 0,
    durationMs: 0,
    survivors: [],
    reason,
  };
}
