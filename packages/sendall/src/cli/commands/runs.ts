/** Commands about existing runs: list, wait for, end, forget. */
import { SendallError, UnreachableError, UsageError } from '../../errors.js';
import { resolveHome } from '../../home.js';
import { AllHosts, NodeSet, type Result, type RunListing } from '../../index.js';
import { resolveTargets } from '../../internal.js';
import type { Arguments, Command, Option } from '../words/command.js';
import { askEach } from '../hosts/each-host.js';
import { resultJson } from '../show/event-json.js';
import { EXIT, exitCodeOf } from '../words/exit-codes.js';
import { codeOf, endsOf, summaryOf } from '../runs/ends.js';
import { findOptions, findPlaces, findRun, oneWord, type Found, type Place } from '../hosts/find-run.js';
import { history } from '../hosts/history.js';
import { explain } from '../show/follow.js';
import { answer, json, lastWords, say, table } from '../show/print.js';
import { reach, reachOptions } from '../hosts/reach.js';
import { onSignal } from '../leaving/signals.js';
import { isOneTarget } from '../words/targets.js';
import { parseDuration } from '../words/units.js';

const asJson: Readonly<Record<string, Option>> = { json: { help: 'one JSON object a line on stdout' } };

/** States in which a run's clock stands still. */
const OVER = new Set(['exited', 'refused', 'lost']);

function age(run: RunListing): string {
  if (run.endMs === undefined && OVER.has(run.state)) return '-';
  const seconds = Math.max(0, Math.round(((run.endMs ?? Date.now()) - (run.startMs ?? run.openedMs)) / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${seconds % 60}s`;
  return `${Math.floor(seconds / 3600)}h${Math.floor((seconds % 3600) / 60)}m`;
}

function stateOf(run: RunListing): string {
  if (run.blocked) return `${run.state}, blocked(${run.blocked === 'disk' ? 'disk full' : run.blocked})`;
  if (run.cause) return run.cause;
  if (run.signal) return run.signal;
  if (run.code !== undefined) return `exit ${run.code}`;
  return run.attached ? `${run.state}, attached` : run.state;
}

export const ps: Command = {
  name: 'ps',
  usage: '[OPTIONS] [TARGETS]',
  summary: 'list unfinished runs, or all that are kept',
  examples: ['sendall ps', 'sendall ps web1 --all', 'sendall ps --fleet'],
  options: {
    all: { short: 'a', help: 'finished ones too' },
    fleet: { help: 'the runs on many hosts that were started from here, from the history' },
    ...asJson,
    ...reachOptions,
  },
  complete: 'host',
  async run(args) {
    if (args.words.length > 1) throw new UsageError('ps takes one word of targets: join them with a comma');
    if (args.on('fleet')) return await (await import('../runs/fleet-runs.js')).listFleetRuns(args);
    const targets = args.words[0] ?? 'local';
    const names = isOneTarget(targets) ? [targets] : [...resolveTargets(targets)];
    const rows = new Map<string, string[][]>(names.map((name) => [name, []]));
    const list = async (name: string) => {
      await using host = await reach(name, args);
      for await (const run of host.runs({ all: args.on('all') })) {
        if (args.on('json')) json({ event: 'run', ...run });
        else
          rows
            .get(name)!
            .push([
              ...(names.length > 1 ? [name] : []),
              run.runId,
              stateOf(run),
              age(run),
              String(run.pid ?? '-'),
              run.name ?? '-',
              run.argv.join(' ').slice(0, 200),
            ]);
      }
    };
    let failed: string[] = [];
    if (names.length === 1) await list(names[0]!).catch(withoutAgent(args));
    else failed = await askEach(names, list);
    const head = [...(names.length > 1 ? ['HOST'] : []), 'RUN', 'STATE', 'TIME', 'PID', 'NAME', 'COMMAND'];
    if (!args.on('json')) await table([head, ...[...rows.values()].flat()], true);
    return failed.length ? 1 : 0;
  },
};

/** A user who only calls other machines has no agent here, and ended up here by naming no host. */
function withoutAgent(args: Arguments) {
  return (error: SendallError): never => {
    const [other] = args.words.length ? [] : AllHosts.of(resolveHome()).lastKnown.list();
    if (error.code !== 'UNREACHABLE' || !other) throw error;
    throw new UnreachableError(`no agent runs on this machine: name a host, for example sendall ps ${other.name}`);
  };
}

export const wait: Command = {
  name: 'wait',
  usage: '[OPTIONS] RUN…',
  summary: 'wait until runs have ended; exits with the run’s code, or with 1 when one of several failed',
  examples: ['sendall wait nightly'],
  options: { ...findOptions, ...asJson, ...reachOptions },
  complete: 'run',
  async run(args) {
    if (!args.words.length) throw new UsageError('wait takes runs: ids, beginnings of ids, or names');
    const found: Found[] = [];
    for (const word of args.words) found.push(await findRun(word, args));
    const told = (result: Result) => {
      if (args.on('json')) json(resultJson(result));
      else explain(result);
    };
    const all = async () => {
      const ends = await Promise.all(found.map(async (each) => await endsOf(each, args, told)));
      return codeOf({
        results: ends.flatMap(({ results }) => results),
        neverStarted: ends.flatMap(({ neverStarted }) => neverStarted),
        silent: ends.flatMap(({ silent }) => silent),
      });
    };
    return await orHungUp(all(), found);
  },
};

export const result: Command = {
  name: 'result',
  usage: '[OPTIONS] RUN',
  summary: 'print the result of a run; waits for its end',
  examples: ['sendall result nightly --json'],
  options: { ...findOptions, ...asJson, ...reachOptions },
  complete: 'run',
  async run(args) {
    const found = await findRun(oneWord(args, 'result'), args);
    const told = (result: Result) => {
      if (args.on('json')) json(resultJson(result));
      else answer(`${found.hosts.length > 1 ? `${result.host}: ` : ''}${result.outcome}: ${result.reason}`);
    };
    const all = async () => {
      const ends = await endsOf(found, args, told);
      if (found.run?.set && args.on('json')) json(summaryOf(ends, found.run));
      else if (ends.neverStarted.length) answer(`${new NodeSet(ends.neverStarted).toString()}: never started`);
      return codeOf(ends);
    };
    return await orHungUp(all(), [found]);
  },
};

/** The code of the wait, or SIGHUP's code after printing the runs we waited for. */
async function orHungUp(code: Promise<number>, found: readonly Found[]): Promise<number> {
  const hungUp = new Promise<'hungUp'>((resolve) => onSignal('SIGHUP', () => resolve('hungUp')));
  const first = await Promise.race([code, hungUp]);
  if (first !== 'hungUp') return first;
  const runs = [...new Set(found.flatMap(({ places }) => places.map(({ runId }) => runId)))].join(' ');
  await lastWords(2, `sendall: hung up before the end was known: sendall wait ${runs}`);
  return EXIT.hungUp;
}

export const kill: Command = {
  name: 'kill',
  usage: '[OPTIONS] RUN',
  summary: 'end a run and every process it started: TERM, grace, KILL; or send one signal with -s',
  examples: ['sendall kill nightly --grace 10s', 'sendall kill nightly -s HUP'],
  options: {
    ...findOptions,
    signal: { value: 'SIGNAL', short: 's', help: 'only send this signal to its process group', complete: 'signal' },
    grace: { value: 'TIME', help: 'time between TERM and KILL (default 5s)' },
    ...asJson,
    ...reachOptions,
  },
  complete: 'run',
  async run(args) {
    const text = args.text('grace');
    const grace = text === undefined ? {} : { grace: parseDuration(text, '--grace') };
    if (text !== undefined && args.on('signal'))
      throw new UsageError('--grace is for ending a run; with -s only one signal is sent');
    const places = await findPlaces(oneWord(args, 'kill'), args);
    const codes: number[] = [];
    for (const place of places) codes.push(await killAt(place, args, grace));
    return codes.length === 1 ? codes[0]! : codes.some(Boolean) ? 1 : 0;
  },
};

/** Resolves to 0 when it succeeded and no process is left. */
async function killAt({ target, runId }: Place, args: Arguments, grace: { grace?: number }): Promise<number> {
  await using host = await reach(target, args);
  const running = host.attach(runId, { mode: 'observe', from: 'end', reject: false });
  running.stopCollecting();
  try {
    await running.attached;
  } catch {
    const result = await running;
    explain(result);
    return exitCodeOf(result);
  }
  const signal = args.text('signal');
  const report =
    signal === undefined ? await running.cancel({ reason: 'sendall kill', ...grace }) : await running.kill(signal);
  if (args.on('json')) json({ event: 'killed', host: target, runId, ...report });
  else {
    if (report.result !== 'done') say(`sendall: ${target}: ${report.result}`);
    for (const { pid, argv } of report.survivors) say(`sendall: ${target}: still running: ${pid} ${argv.join(' ')}`);
  }
  return report.result === 'done' && report.survivors.length === 0 ? 0 : 1;
}

export const forget: Command = {
  name: 'forget',
  usage: '[OPTIONS] RUN',
  summary: 'remove a finished run and its output from its hosts and from the history',
  examples: ['sendall forget nightly'],
  options: { ...findOptions, ...reachOptions },
  complete: 'run',
  async run(args) {
    const word = oneWord(args, 'forget');
    const { places, run } = await findRun(word, args);
    const set = run?.forgotten ? undefined : run?.set;
    const forgetAt = async (target: string, runId: string) => {
      await using host = await reach(target, args);
      await host.forget(runId).catch((error: SendallError) => {
        // What the host has forgotten already may still be in the history.
        if (set && error.code === 'UNKNOWN') return;
        if (error.code !== 'NOT_FORGOTTEN') throw error;
        throw new SendallError(error.code, `"${word}" is still running on ${target}: end it with sendall kill ${word}`);
      });
    };
    if (!set) {
      for (const { target, runId } of places) await forgetAt(target, runId);
      if (run && !args.on('on')) history().forget(run);
      return 0;
    }
    const ids = new Map(places.map(({ target, runId }) => [target, runId]));
    let runs = false;
    const failed = await askEach(
      ids.keys(),
      async (target) => await forgetAt(target, ids.get(target)!),
      (name, error) => {
        runs ||= (error as SendallError).code === 'NOT_FORGOTTEN';
        say(`sendall: ${name}: ${error.message}`);
      },
    );
    if (!runs && !args.on('on')) history().forget(run!);
    return failed.length ? 1 : 0;
  },
};
