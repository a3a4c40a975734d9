/** One command on many hosts: prints lines prefixed by host, JSON events, or equal answers grouped. */
import type { Writable } from 'node:stream';
import { UsageError } from '../../errors.js';
import {
  fleet,
  NodeSet,
  type FleetRun,
  type FleetRunOptions,
  type HostEvent,
  type Result,
  type RunOptions,
} from '../../index.js';
import { Gatherer, type Recording } from '../../internal.js';
import { graceOf, type Part } from './accompany.js';
import { textOf, type Arguments } from '../words/command.js';
import { jsonLine } from '../show/control-characters.js';
import { decodersFor, eventJson, outputJson, unfinished } from '../show/event-json.js';
import { EXIT, exitCodeOf } from '../words/exit-codes.js';
import { summaryJson } from '../show/fleet/summary-json.js';
import { beginRecording, keepOutputOf } from '../hosts/history.js';
import { leaveMany } from '../leaving/departure.js';
import { watchLeaving, watchSignals } from '../leaving/interrupt.js';
import { PrefixedLines } from '../show/prefixed-lines.js';
import { showFleetLine } from '../show/fleet/fleet-line.js';
import { coloured, reasonOf, say } from '../show/print.js';
import { printDiff, printGroups } from '../show/fleet/print-groups.js';
import { printPlan } from '../show/fleet/print-plan.js';
import { onlyOf } from './only.js';
import type { Begin } from './run-options.js';
import { shareOf } from '../hosts/reach.js';
import { rolloutFor } from '../words/rollout-options.js';
import { isOneTarget } from '../words/targets.js';
import { finish, put, standardSinks, type LostOutput, type Sinks } from '../show/sink.js';

/** Starts the command on all hosts of a set, shows its progress and returns the process's exit code. */
export async function startMany(args: Arguments, targets: string, options: RunOptions, begin: Begin): Promise<number> {
  if (args.on('pty') && !isOneTarget(targets))
    throw new UsageError('--pty is for one host: a terminal cannot be shared by a set');
  keepOutputOf(args);
  if (args.on('gather') && args.on('diff')) throw new UsageError('--gather and --diff are two views: choose one');
  const named = fleet(isOneTarget(targets) ? [targets] : targets, shareOf(args));
  const hosts = args.on('only') ? fleet(onlyOf(args, targets, named.set), shareOf(args)) : named;
  const together: FleetRunOptions = { ...rolloutFor(args, hosts.set.size), gather: isGathered(args) };
  let command = { program: 'sh', words: 2 };
  const running = begin(
    {
      run: (argv, o) => {
        command = { program: textOf(argv[0]!), words: argv.length - 1 };
        return hosts.run(argv, o);
      },
      sh: (script, o) => hosts.sh(script, o),
    },
    {
      ...options,
      ...together,
    },
  );
  if (args.on('explain')) {
    await printPlan(running.plan, args);
    return 0;
  }
  const recording = beginRecording(args, running, { hosts: hosts.set, name: options.name, ...command });
  return await showMany(args, running, { part: 'own', recording });
}

/** How we take part in the run, and where its history is written. */
export interface Participation {
  readonly part: Part;
  readonly recording: Recording | undefined;
}

/** Shows the progress of many hosts, and returns the process's exit code. */
export async function showMany(
  args: Arguments,
  running: FleetRun,
  { part, recording }: Participation,
): Promise<number> {
  const view = new View(running, args, part, recording);
  const watch = part === 'watching' ? watchLeaving() : watchSignals(running, graceOf(args));
  const ended = args.on('detach') ? view.launch() : view.show();
  const first = await Promise.race([ended, watch.departed]);
  // While we leave, signals are still watched: a window that closes sends several, and none of them is to end us here.
  if (first === undefined) watch.off();
  else recording?.leave();
  const code = first === undefined ? view.conclude() : await leaveMany(running, first, ended, args);
  await recording?.close(running.notStarted);
  return code;
}

/** Equal answers are shown together. */
const isGathered = (args: Arguments) => args.on('gather') || args.on('diff');

class View {
  readonly #begunAt = performance.now();
  readonly #run: FleetRun;
  readonly #args: Arguments;
  readonly #sinks: Sinks = standardSinks();
  readonly #results: Result[] = [];
  #lostOutput: LostOutput | undefined;

  readonly #recording: Recording | undefined;

  constructor(run: FleetRun, args: Arguments, part: Part, recording: Recording | undefined) {
    this.#recording = recording;
    this.#run = run;
    this.#args = args;
    for (const sink of new Set([this.#sinks.out, this.#sinks.err]))
      sink.on('error', (error: NodeJS.ErrnoException) => {
        this.#lostOutput ??= { stream: sink === this.#sinks.out ? 'stdout' : 'stderr', error };
        // `| head`: the reader wants no more output, including any still on its way.
        if (part === 'own' && (sink === this.#sinks.out || error.code !== 'EPIPE')) this.#stopReading(sink);
        void (part === 'own' ? run.cancel({ reason: 'the reader of the output went away' }) : run.detach());
      });
  }

  #stopReading(sink: Writable): void {
    if (sink === this.#sinks.out) this.#run.stopReading('stdout');
    if (sink === this.#sinks.err) this.#run.stopReading('stderr');
  }

  #recorded<T extends HostEvent | Result>(source: AsyncIterable<T>): AsyncIterable<T> {
    return this.#recording?.watch(source) ?? source;
  }

  async show(): Promise<void> {
    if (this.#args.on('json')) await this.#events();
    else if (isGathered(this.#args)) await this.#together();
    else await this.#lines();
    await finish(this.#sinks);
  }

  async launch(): Promise<void> {
    const asJson = this.#args.on('json');
    const error = asJson ? undefined : say(this.#run.runId);
    if (error) this.#lostOutput ??= { stream: 'stderr', error };
    for await (const event of this.#recorded(this.#run.launch())) {
      if (event.event === 'result' && !event.result.ok) this.#results.push(event.result);
      const { host, runId, ...rest } = event;
      if (asJson && rest.event !== 'output') await this.#json(eventJson({ host, runId }, rest));
    }
    await finish(this.#sinks);
  }

  async #json(value: object): Promise<void> {
    await put(this.#sinks.out, `${jsonLine(value)}\n`);
  }

  async #events(): Promise<void> {
    const decoders = new Map<string, ReturnType<typeof decodersFor>>();
    for await (const event of this.#recorded(this.#run)) {
      const { host, runId, ...rest } = event;
      if (!decoders.has(host)) decoders.set(host, decodersFor(this.#args.text('encoding')));
      if (rest.event === 'output') await this.#json(outputJson(event, rest, decoders.get(host)));
      else {
        if (rest.event === 'result') {
          this.#results.push(rest.result);
          for (const piece of unfinished(decoders.get(host), rest.result.finals))
            await this.#json(outputJson(event, piece));
        }
        await this.#json(eventJson({ host, runId }, rest));
      }
    }
    const wallMs = performance.now() - this.#begunAt;
    await this.#json(summaryJson(this.#run, this.#results, wallMs, isGathered(this.#args)));
  }

  async #lines(): Promise<void> {
    const shown = new Map<string, PrefixedLines>();
    const { out, err } = this.#sinks;
    const names = { stdout: coloured(1), stderr: coloured(2) };
    const endLine = showFleetLine(this.#run, this.#args);
    for await (const event of this.#recorded(this.#run)) {
      if (event.event === 'host') continue;
      let lines = shown.get(event.host);
      if (!lines) {
        lines = new PrefixedLines(event.host, decodersFor(this.#args.text('encoding')), names);
        shown.set(event.host, lines);
      }
      if (event.event === 'output')
        await put(event.stream === 'stderr' ? err : out, lines.push(event.stream, event.bytes));
      else if (event.event === 'gap')
        say(`sendall: ${event.host}: ${event.to - event.from} bytes of ${event.stream} are missing (${event.reason})`);
      else if (event.event === 'result') {
        this.#results.push(event.result);
        await put(out, lines.end('stdout'));
        await put(err, lines.end('stderr'));
        shown.delete(event.host);
      }
    }
    endLine();
  }

  async #together(): Promise<void> {
    const gatherer = new Gatherer();
    const endLine = showFleetLine(this.#run, this.#args);
    for await (const result of this.#recorded(this.#run.results())) {
      gatherer.add(result);
      this.#results.push(result);
    }
    endLine();
    const groups = gatherer.groups();
    const encoding = this.#args.text('encoding');
    if (this.#args.on('diff')) await printDiff(groups, this.#sinks, encoding);
    else await printGroups(groups, this.#sinks, encoding);
  }

  /** Prints which hosts failed and how; returns the exit code. */
  conclude(): number {
    const { notStarted } = this.#run;
    const { stream, error } = this.#lostOutput ?? {};
    if (error && error.code !== 'EPIPE') {
      say(`sendall: cannot write to ${stream}: ${reasonOf(error)}`);
      return EXIT.truncated;
    }
    if (error) return EXIT.brokenPipe;
    if (!this.#args.on('json') && !this.#args.on('quiet')) {
      for (const [what, hosts] of this.#failures()) say(`sendall: ${new NodeSet(hosts).toString()}: ${what}`);
      for (const [why, hosts] of this.#neverStarted())
        say(`sendall: ${new NodeSet(hosts).toString()}: never started, ${why}`);
    }
    if (notStarted.size) return EXIT.notStarted;
    if (this.#run.progress.total === 1 && this.#results[0]) return exitCodeOf(this.#results[0]);
    return this.#results.every(({ ok }) => ok) ? 0 : 1;
  }

  #neverStarted(): Map<string, string[]> {
    const hosts = new Map<string, string[]>();
    for (const [host, { state, reason = '' }] of this.#run.states) {
      if (state !== 'neverStarted') continue;
      const names = hosts.get(reason);
      if (names) names.push(host);
      else hosts.set(reason, [host]);
    }
    return hosts;
  }

  #failures(): Map<string, string[]> {
    const failures = new Map<string, string[]>();
    for (const { host, ok, outcome, code, signal, reason } of this.#results) {
      if (ok) continue;
      const what = outcome === 'failed' ? `exit ${code}` : outcome === 'signalled' ? `killed by ${signal}` : reason;
      const hosts = failures.get(what);
      if (hosts) hosts.push(host);
      else failures.set(what, [host]);
    }
    return failures;
  }
}
