/** The last event of many hosts in the format of --json. */
import { NodeSet, type FleetRun, type Progress, type Result } from '../../../index.js';

/** What a run on many hosts came to, now or in the past. */
export interface Summed extends Pick<FleetRun, 'runId' | 'notStarted'> {
  readonly progress: Pick<Progress, 'total' | 'ok' | 'failed' | 'states'>;
}

/** `grouped`: with the groups of equal answers, which takes results with digests. */
export function summaryJson(run: Summed, results: readonly Result[], wallMs: number, grouped: boolean): object {
  const { total, ok, failed, states } = run.progress;
  return {
    event: 'summary',
    runId: run.runId,
    total,
    ok,
    failed,
    notStarted: run.notStarted.toString(),
    states,
    outcomes: countBy(results, ({ outcome }) => outcome),
    bytes: results.reduce((sum, { finals }) => sum + finals.stdout + finals.stderr, 0),
    wallMs: Math.round(wallMs),
    ...(grouped ? { groups: groupsOf(results) } : {}),
  };
}

function countBy<T>(items: readonly T[], key: (item: T) => string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[key(item)] = (counts[key(item)] ?? 0) + 1;
  return counts;
}

/** The hosts whose outcome and output are equal, the largest group first. */
function groupsOf(results: readonly Result[]): object[] {
  const groups = new Map<string, { names: string[]; first: Result }>();
  for (const result of results) {
    const { outcome, code, signal, sha256 } = result;
    const key = JSON.stringify([outcome, code, signal, sha256.stdout, sha256.stderr]);
    const group = groups.get(key);
    if (group) group.names.push(result.host);
    else groups.set(key, { names: [result.host], first: result });
  }
  return [...groups.values()]
    .sort((a, b) => b.names.length - a.names.length)
    .map(({ names, first: { outcome, code, signal, sha256, finals } }) => ({
      hosts: new NodeSet(names).toString(),
      count: names.length,
      outcome,
      code: code ?? null,
      signal: signal ?? null,
      stdoutBytes: finals.stdout,
      stderrBytes: finals.stderr,
      stdoutSha256: sha256.stdout,
      stderrSha256: sha256.stderr,
    }));
}
