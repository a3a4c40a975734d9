/** Shows a run as it happens, as bytes or JSON events, and ends with a single code. */
import { isatty } from 'node:tty';
import type { Result, Run, RunEvent, StreamName } from '../../index.js';
import type { ScreenModes } from '../../internal.js';
import type { Arguments } from '../words/command.js';
import { jsonLine } from './control-characters.js';
import { decodersFor, eventJson, outputJson, unfinished } from './event-json.js';
import { EXIT, exitCodeOf } from '../words/exit-codes.js';
import { undoneAtTheEnd } from './left-screen.js';
import { Replay } from '../terminal/replay.js';
import { reasonOf, say } from './print.js';
import { finish, put, standardSinks, type LostOutput } from './sink.js';

export interface FollowOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly encoding: string | undefined;
  /**
   * Which stream to show.
   * @default both
   */
  readonly only?: StreamName | undefined;
  /** The run existed before us and goes on without us: when our reader leaves, so do we. */
  readonly joined?: boolean;
  /** Only the output that exists now. @default to the end of the run */
  readonly soFar?: boolean;
  /** Set when the user has left: received output is still shown, but the end is not. */
  left?: boolean;
}

/** How following the run ended. */
export interface Followed {
  readonly result: Result;
  /** Some of the output could not be shown because the host had dropped it. */
  readonly gaps: boolean;
  /** Our stdout or stderr failed before taking everything. */
  readonly lostOutput: LostOutput | undefined;
}

/** The view asked for by the options common to all commands that show a run. */
export function viewOf(args: Arguments) {
  return { json: args.on('json'), quiet: args.on('quiet'), encoding: args.text('encoding') };
}

/** Whether messages about what we do are welcome: only for a user at a terminal. */
export function speaks(args: Arguments): boolean {
  return isatty(2) && !args.on('quiet') && !args.on('json');
}

/** Follows the run to its end, or through the output so far. */
export async function follow(run: Run, options: FollowOptions): Promise<Followed> {
  const sinks = standardSinks();
  const { out, err } = sinks;
  let lostOutput: LostOutput | undefined;
  const leave = () => {
    options.left = true;
    void run.detach().catch(() => undefined);
  };
  out.on('error', (error) => {
    lostOutput ??= { stream: 'stdout', error };
    if (options.joined) {
      leave();
      return;
    }
    // `sendall run … | head`: the reader has had enough. The command gets SIGPIPE, as a local one would.
    run.stopReading('stdout');
    if (out === err) run.stopReading('stderr');
  });
  if (out !== err)
    err.on('error', (error: NodeJS.ErrnoException) => {
      // A reader that leaves early is no failure, as for any command.
      if (error.code !== 'EPIPE') lostOutput ??= { stream: 'stderr', error };
      if (!options.joined) run.stopReading('stderr');
    });
  const decoders = decodersFor(options.encoding);
  let modes: ScreenModes | undefined;
  let replay: Replay | undefined;
  /** A terminal's output, for ours: output of the past must not query our terminal. */
  const draw = (bytes: Buffer, offset: number): Buffer => {
    modes ??= undoneAtTheEnd();
    if (options.joined) return (replay ??= new Replay(run, modes)).draw(bytes, offset);
    modes.watch(bytes);
    return bytes;
  };
  let result!: Result;
  let gaps = false;
  const show = async (event: RunEvent) => {
    if (event.event === 'output') {
      if (options.only && event.stream !== options.only) return;
      if (options.json) await put(out, `${jsonLine(outputJson(run, event, decoders))}\n`);
      else {
        const { bytes } = event;
        const drawn = run.hasTerminal && isatty(1) ? draw(bytes, event.offset) : bytes;
        const shown = decoders ? decoders[event.stream].decode(drawn, { stream: true }) : drawn;
        await put(event.stream === 'stderr' ? err : out, shown);
      }
      return;
    }
    if (event.event === 'gap') gaps = true;
    if (event.event === 'result') {
      ({ result } = event);
      await flush();
      if (options.left) return;
    }
    if (options.json) await put(out, `${jsonLine(eventJson(run, event))}\n`);
    else if (event.event === 'gap' && !options.quiet)
      say(`sendall: ${event.to - event.from} bytes of ${event.stream} are missing (${event.reason})`);
  };
  const flush = async () => {
    for (const piece of unfinished(decoders, run.offsets)) {
      if (options.only && piece.stream !== options.only) continue;
      if (options.json) await put(out, `${jsonLine(outputJson(run, piece))}\n`);
      else await put(piece.stream === 'stderr' ? err : out, piece.text);
    }
  };
  const isOver = () => ['ended', 'lost', 'refused', 'unreachable'].includes(run.state);
  const enough = () => options.soFar && !options.left && !run.isBehind && !isOver();
  if (options.soFar) void run.attached.then(() => enough() && leave()).catch(() => undefined);
  for await (const event of run.events()) {
    await show(event);
    if (event.event !== 'result' && enough()) leave();
  }
  await finish(sinks);
  return { result, gaps, lostOutput };
}

/** Prints what the command did not report itself, and returns the process's exit code. */
export function conclude(run: Run, { result, gaps, lostOutput }: Followed, options: FollowOptions): number {
  const code = !options.left ? exitCodeOf(result) : gaps ? EXIT.truncated : 0;
  if (lostOutput?.error.code === 'EPIPE') return code || EXIT.brokenPipe;
  if (lostOutput) {
    const { stream, error } = lostOutput;
    say(`sendall: cannot write to ${stream}: ${reasonOf(error)}; the output is kept: sendall attach ${run.runId}`);
    return EXIT.truncated;
  }
  if (!options.left && !options.json && !options.quiet) explain(result);
  return code;
}

/** Explains only our own failures; the command has reported its own. */
export function explain(result: Result): void {
  if (result.outcome === 'ok' || result.outcome === 'failed' || result.outcome === 'signalled') return;
  const survivors = result.survivors.length
    ? `; still running: ${result.survivors.map(({ pid, argv }) => `${pid} (${argv.join(' ')})`).join(', ')}`
    : '';
  const next =
    result.outcome === 'lost'
      ? nextStep(result)
      : result.outcome === 'rewritten'
        ? `; to see where: sendall audit verify --against ${result.host}`
        : '';
  say(`sendall: ${result.host}: ${result.reason}${survivors}${next}`);
}

/** What the user can still do about a run whose end is unknown. */
function nextStep({ host, runId, refusal, timing, survivors }: Result): string {
  if (refusal === 'unknown') return `; to see the runs ${host} keeps: sendall ps --all ${host}`;
  if (timing.endMs === undefined) return `: sendall attach ${runId}`;
  const kept = `; what it wrote is kept: sendall logs ${runId}`;
  return survivors.length ? `; end them: sendall kill ${runId}` : kept;
}
