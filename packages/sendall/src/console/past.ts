/** Runs of the past as the page gets them. */
import { UsageError } from '../errors.js';
import { NodeSet, type Result, type RunListing } from '../index.js';
import { hostStateOf, type PastRun } from '../internal.js';
import { historyOf, type Context } from './context.js';
import type { HostRow } from './live-fleet.js';
import type { Value } from './messages.js';

/** Characters of the hosts of a run. */
const LONGEST_SET = 500;
/** Characters of a word, and words of a command. */
const LONGEST_WORD = 1000;
const MOST_WORDS = 100;

type Told = Value<'history'>['runs'][number];

export function toldPast(run: PastRun, { fleets }: Context): Told {
  const { runId, name, beginMs, closedMs, stage, set, hosts, counts } = run;
  const folded = new NodeSet(hosts).toString();
  return {
    runId,
    name,
    beginMs,
    closedMs,
    stage,
    hosts: folded.length > LONGEST_SET ? `${folded.slice(0, LONGEST_SET)}…` : folded,
    total: hosts.length,
    fleet: set !== undefined,
    program: set?.program,
    repeatable: fleets.remembered(runId) !== undefined,
    counts: Object.fromEntries(counts),
  };
}

/** The states of a past fleet run's hosts. */
export function pastRows(run: PastRun): HostRow[] {
  return [...run.states].map(([host, state]) => {
    const end = run.endOn(host);
    const own = state === 'ok' || state === 'failed' || state === 'signalled';
    return {
      host,
      runId: run.idOn(host),
      state: hostStateOf(state),
      outcome: own ? state : undefined,
      reason: end?.reason,
      code: end?.code,
      begunMs: run.turnOn(host),
      sinceMs: end?.at,
      durationMs: end?.durationMs,
    };
  });
}

/** A fleet run of the history. @throws UsageError when there is none. */
export function pastFleet(runId: string, context: Context): PastRun {
  const run = historyOf(context).find(runId)?.run;
  if (!run?.set) throw new UsageError(`the history has no fleet run ${runId}`);
  return run;
}

export function toldResult(result: Result): NonNullable<Value<'runInfo'>['result']> {
  const { host, runId, outcome, code, signal, cause, reason, refusal, finals, timing, gaps, survivors, killProof } =
    result;
  return {
    host,
    runId,
    outcome,
    code,
    signal,
    cause,
    reason,
    refusal,
    stdoutBytes: finals.stdout,
    stderrBytes: finals.stderr,
    startMs: timing.startMs,
    endMs: timing.endMs,
    durationMs: timing.durationMs,
    gaps: gaps.map(({ stream, from, to, reason: why }) => ({ stream, from, to, reason: why })),
    survivors: survivors.map(({ pid, argv }) => ({ pid, argv: cut(argv) })),
    killProof,
  };
}

export function toldListing(run: RunListing): NonNullable<Value<'runInfo'>['listing']> {
  return { ...run, argv: cut(run.argv), tags: [...run.tags] };
}

const cut = (words: readonly string[]): string[] =>
  words.slice(0, MOST_WORDS).map((word) => (word.length > LONGEST_WORD ? `${word.slice(0, LONGEST_WORD)}…` : word));
