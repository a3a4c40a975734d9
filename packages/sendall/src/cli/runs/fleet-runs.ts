/** Lists the runs on many hosts that this user started from here, from the history alone. */
import { NodeSet } from '../../index.js';
import { hostStateOf, resolveTargets, type PastRun, type PastState } from '../../internal.js';
import type { Arguments } from '../words/command.js';
import { speaks } from '../show/follow.js';
import { history } from '../hosts/history.js';
import { json, say, table } from '../show/print.js';
import { isOneTarget } from '../words/targets.js';

/** Runs that are listed without --all; unfinished ones are always listed. */
const NEWEST = 20;

/** What is known of a run on many hosts. */
interface Summary {
  readonly run: PastRun;
  readonly stage: PastRun['stage'];
  /** Hosts by state or outcome, the most frequent first. */
  readonly counts: readonly (readonly [state: PastState, count: number])[];
  /** Hosts where the command began and whose end is not known. */
  readonly late: string;
}

export async function listFleetRuns(args: Arguments): Promise<number> {
  const { runs, damaged } = history().runs();
  const wanted = runs.filter(({ set, forgotten }) => set && !forgotten).filter(onHosts(args.words[0]));
  const shown: Summary[] = [];
  let older = 0;
  for (const [i, run] of wanted.entries()) {
    if (i < NEWEST || args.on('all') || run.stage !== 'ended') shown.push(summaryOf(run));
    else older++;
  }
  if (args.on('json')) for (const summary of shown) json(asEvent(summary));
  else
    await table(
      [['RUN', 'BEGAN', 'HOSTS', 'STATES', 'LATE', 'NAME', 'COMMAND'], ...shown.map((summary) => rowOf(summary))],
      true,
    );
  if (older && speaks(args)) say(`sendall: ${older} older: sendall ps --fleet --all`);
  const wrong = damaged + shown.reduce((sum, { run, stage }) => sum + (stage === 'ended' ? 0 : run.damaged), 0);
  if (wrong) say(`sendall: ${wrong} lines of the history are damaged and were skipped`);
  return 0;
}

/** Only runs that named one of these hosts. */
function onHosts(targets: string | undefined): (run: PastRun) => boolean {
  if (targets === undefined) return () => true;
  const names = new Set(isOneTarget(targets) ? [targets] : resolveTargets(targets));
  return ({ hosts }) => hosts.some((host) => names.has(host));
}

function summaryOf(run: PastRun): Summary {
  const { stage, counts } = run;
  const isOpen = counts.has('running') || counts.has('lost');
  const late = isOpen ? [...run.states].filter(([, state]) => state === 'running' || state === 'lost') : [];
  return {
    run,
    stage,
    counts: [...counts].sort(([, a], [, b]) => b - a),
    late: new NodeSet(late.map(([host]) => host)).toString(),
  };
}

function asEvent({ run, stage, counts, late }: Summary): object {
  const { runId, name, beginMs, closedMs, set, hosts } = run;
  const states: Record<string, number> = {};
  for (const [state, count] of counts) states[hostStateOf(state)] = (states[hostStateOf(state)] ?? 0) + count;
  return {
    event: 'fleet',
    runId,
    name,
    stage,
    beginMs,
    closedMs,
    program: set!.program,
    words: set!.words,
    hosts: new NodeSet(hosts).toString(),
    total: hosts.length,
    states,
    outcomes: Object.fromEntries(counts.filter(([state]) => !['waiting', 'running', 'neverStarted'].includes(state))),
    late,
  };
}

function rowOf({ run, counts, late }: Summary): string[] {
  const { runId, name, beginMs, set, hosts } = run;
  return [
    runId,
    localTime(beginMs),
    new NodeSet(hosts).toString(),
    counts.map(([state, count]) => `${count} ${state}`).join(', '),
    late || '-',
    name ?? '-',
    // The arguments are not kept, as they may hold secrets.
    set!.words ? `${set!.program} …` : set!.program,
  ];
}

/** 2026-11-30 14:03:12, in this machine's time zone. */
function localTime(ms: number): string {
  const date = new Date(ms);
  const local = new Date(ms - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19).replace('T', ' ');
}
