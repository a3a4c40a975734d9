/** Shows a run as it happens: its bytes, or JSON events, and at the end one code. */
import type { Writable } from 'node:stream';
import { TextDecoder } from 'node:util';
import type { Run, RunEvent, Result } from '../index.js';
import { exitCodeOf } from './exit-codes.js';
import { say } from './print.js';
import { descriptorSink } from './sink.js';

export interface FollowOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly encoding: string | undefined;
  /** Which streams to show. Default both. */
  readonly only?: 'stdout' | 'stderr' | undefined;
}

type OutputEvent = Extract<RunEvent, { event: 'output' }>;

/** Follows the run to its end and returns the process's exit code. */
export async function follow(run: Run, options: FollowOptions): Promise<number> {
  const out = descriptorSink(1);
  const err = descriptorSink(2);
  let gone = false;
  out.on('error', (error: NodeJS.ErrnoException) => {
    // `sendall run … | head`: the reader has what it wanted. The command is told as a local one would be.
    gone = true;
    if (error.code !== 'EPIPE') say(`sendall: cannot write to stdout: ${error.message}`);
    run.stopReading('stdout');
  });
  err.on('error', () => run.stopReading('stderr'));
  const put = async (sink: Writable, bytes: Uint8Array | string) => {
    if (sink.destroyed || sink.write(bytes)) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        sink.off('drain', done).off('close', done);
        resolve();
      };
      sink.on('drain', done).on('close', done);
    });
  };
  const decoders = options.encoding
    ? { stdout: new TextDecoder(options.encoding), stderr: new TextDecoder(options.encoding) }
    : undefined;
  let result!: Result;
  for await (const event of run.events()) {
    if (event.event === 'result') result = event.result;
    if (event.event === 'output') {
      if (options.only && event.stream !== options.only) continue;
      if (options.json) await put(out, `${JSON.stringify(outputJson(run, event, decoders))}\n`);
      else {
        const bytes = decoders ? decoders[event.stream].decode(event.bytes, { stream: true }) : event.bytes;
        await put(event.stream === 'stderr' ? err : out, bytes);
      }
    } else if (options.json) await put(out, `${JSON.stringify(eventJson(run, event))}\n`);
    else if (event.event === 'gap' && !options.quiet)
      say(`sendall: ${event.to - event.from} bytes of ${event.stream} are missing (${event.reason})`);
  }
  if (decoders && !options.json) {
    await put(out, decoders.stdout.decode());
    await put(err, decoders.stderr.decode());
  }
  await Promise.all([out, err].map((sink) => new Promise<void>((done) => (sink.destroyed ? done() : sink.end(done)))));
  if (!options.json && !options.quiet && !gone) explain(result);
  return exitCodeOf(result);
}

/** What the command did not say itself. Its own failures are its own words. */
function explain(result: Result): void {
  if (result.outcome === 'ok' || result.outcome === 'failed' || result.outcome === 'signalled') return;
  const survivors = result.survivors.length
    ? `; still running: ${result.survivors.map(({ pid, argv }) => `${pid} (${argv.join(' ')})`).join(', ')}`
    : '';
  const next = result.outcome === 'lost' ? `; see it with: sendall attach ${result.runId}` : '';
  say(`sendall: ${result.host}: ${result.reason}${survivors}${next}`);
}

function outputJson(run: Run, event: OutputEvent, decoders: { stdout: TextDecoder; stderr: TextDecoder } | undefined) {
  const { stream, offset, bytes } = event;
  const head = { event: 'output', host: run.host, runId: run.runId, stream, offset };
  if (decoders) return { ...head, text: decoders[stream].decode(bytes, { stream: true }) };
  const text = bytes.toString('utf8');
  return Buffer.byteLength(text) === bytes.length && Buffer.from(text).equals(bytes)
    ? { ...head, text }
    : { ...head, base64: bytes.toString('base64') };
}

/** An event as JSON; results in the contract's words. */
export function eventJson(run: { host: string; runId: string }, event: Exclude<RunEvent, OutputEvent>): object {
  const { host, runId } = run;
  if (event.event !== 'result') {
    const { event: name, ...rest } = event;
    return { event: name, host, runId, ...rest };
  }
  return resultJson(event.result);
}

export function resultJson(result: Result): object {
  const { host, runId, outcome, code, signal, finals, sha256, timing, survivors, refusal, reason, gaps, killProof } =
    result;
  return {
    event: 'result',
    host,
    runId,
    outcome,
    code: code ?? null,
    signal: signal ?? null,
    stdoutBytes: finals.stdout,
    stderrBytes: finals.stderr,
    ...(sha256.stdout === undefined ? {} : { stdoutSha256: sha256.stdout, stderrSha256: sha256.stderr }),
    durationMs: timing.durationMs,
    survivors,
    ...(killProof === undefined ? {} : { killProof }),
    ...(gaps.length ? { gaps } : {}),
    ...(refusal === undefined ? {} : { refusal }),
    ...(outcome === 'ok' ? {} : { reason }),
  };
}
