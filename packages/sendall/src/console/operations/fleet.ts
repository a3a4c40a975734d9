/** Answers about fleet runs: where their hosts stand, equal answers in groups, and how groups differ. */
import { diffArrays } from 'diff';
import { NodeSet, type StreamName } from '../../index.js';
import type { PastRun } from '../../internal.js';
import type { Context } from '../context.js';
import type { HostRow, LiveFleet } from '../live-fleet.js';
import type { Value } from '../messages.js';
import { pastFleet, pastRows, toldPast } from '../past.js';
import type { Answer } from './answer.js';

/** Groups that are compared with the largest. */
const MOST_COMPARED = 32;
/** Bounds of one comparison, in milliseconds and in edits. */
const COMPARE_MS = 1000;
const MOST_EDITS = 5000;
/** Equal lines that are shown around a difference. */
const AROUND = 3;
const STREAMS: readonly StreamName[] = ['stdout', 'stderr'];
const UNFINISHED: ReadonlySet<string> = new Set(['waiting', 'running', 'neverStarted']);

type Group = Value<'groups'>['groups'][number];
type Change = Value<'diff'>['others'][number]['changes'][number];

export const fleetInfo: Answer<'fleetInfo'> = async ({ runId }, context) => ({
  run: toldPast(pastFleet(runId, context), context),
});

/**
 * The hosts of a fleet run as they stand. What goes on here is newer than the history, which may have nothing of the run
 * when it cannot be written.
 */
export function rowsOf(past: PastRun | undefined, live?: LiveFleet): HostRow[] {
  if (!past) return live ? [...live.rows.values()] : [];
  const rows = pastRows(past);
  return live ? rows.map((row) => live.rows.get(row.host) ?? row) : rows;
}

export const groups: Answer<'groups'> = async ({ runId }, context) => {
  const run = pastFleet(runId, context);
  const { byAnswer, pending } = answersOf(run);
  const shown = byAnswer.slice(0, context.limits.groups);
  return {
    groups: shown.map((names) => groupOf(names, run, context)),
    others: byAnswer.length - shown.length,
    pending,
  };
};

export const diff: Answer<'diff'> = async ({ runId }, context) => {
  const run = pastFleet(runId, context);
  const [first, ...rest] = answersOf(run).byAnswer;
  if (!first) return { majority: undefined, others: [] };
  const others = rest.slice(0, MOST_COMPARED).map((names) => ({
    group: groupOf(names, run, context),
    changes: STREAMS.flatMap((stream) => changesOf(run, first[0]!, names[0]!, stream, context) ?? []),
  }));
  return { majority: groupOf(first, run, context), others };
};

/** The hosts whose end is known, by equal answers, the largest group first. */
function answersOf(run: PastRun): { byAnswer: string[][]; pending: number } {
  const groups = new Map<string, string[]>();
  let pending = 0;
  for (const [host, state] of run.states) {
    if (UNFINISHED.has(state) || !run.endOn(host)) {
      if (state !== 'neverStarted') pending += 1;
      continue;
    }
    const answer = run.answerOn(host);
    const group = groups.get(answer);
    if (group) group.push(host);
    else groups.set(answer, [host]);
  }
  return { byAnswer: [...groups.values()].sort((a, b) => b.length - a.length), pending };
}

function groupOf(names: readonly string[], run: PastRun, { limits }: Context): Group {
  const result = run.resultOn(names[0]!)!;
  const sample = (stream: StreamName) => ({
    bytes: result.finals[stream],
    base64: run.outputOn(names[0]!, stream)?.subarray(0, limits.sampleBytes).toString('base64'),
  });
  return {
    hosts: new NodeSet(names).toString(),
    size: names.length,
    outcome: result.outcome,
    code: result.code,
    signal: result.signal,
    reason: result.reason,
    stdout: sample('stdout'),
    stderr: sample('stderr'),
  };
}

/** How a host's stream differs from another's; undefined when it does not, or is not kept. */
function changesOf(
  run: PastRun,
  left: string,
  right: string,
  stream: StreamName,
  { limits }: Context,
): Change | undefined {
  const [a, b] = [run.outputOn(left, stream), run.outputOn(right, stream)];
  if (!a || !b || a.equals(b)) return undefined;
  const most = limits.comparedBytes;
  const linesOf = (bytes: Buffer) => bytes.subarray(0, most).toString().split('\n');
  const isCut = a.length > most || b.length > most;
  const found = diffArrays(linesOf(a), linesOf(b), { timeout: COMPARE_MS, maxEditLength: MOST_EDITS });
  if (!found) return { stream, lines: [], cut: true };
  const lines = found.flatMap(({ added, removed, value }, i) => {
    const kind = added ? ('added' as const) : removed ? ('removed' as const) : ('same' as const);
    const shown = kind === 'same' ? nearChanges(value, i === 0, i === found.length - 1) : value;
    return shown.map((text) => ({ kind, text }));
  });
  return { stream, lines, cut: isCut };
}

/** Of equal lines, those beside a difference. */
function nearChanges(lines: readonly string[], isFirst: boolean, isLast: boolean): readonly string[] {
  const [after, before] = [isFirst ? 0 : AROUND, isLast ? 0 : AROUND];
  if (lines.length <= after + before) return lines;
  return [...lines.slice(0, after), ...(before ? lines.slice(-before) : [])];
}
