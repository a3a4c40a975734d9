/** How a run ended on its hosts: from the history where that is known for good, else from the hosts. */
import { NodeSet, type HostState, type Result, type StateCounts } from '../../index.js';
import { hostStateOf, type PastRun } from '../../internal.js';
import type { Arguments } from '../words/command.js';
import { askEach } from '../hosts/each-host.js';
import { EXIT, exitCodeOf } from '../words/exit-codes.js';
import type { Found, Place } from '../hosts/find-run.js';
import { joinRecording } from '../hosts/history.js';
import { reach } from '../hosts/reach.js';
import { summaryJson } from '../show/fleet/summary-json.js';
import { showWaiting } from '../show/waiting.js';

/** The ends of one run, or of several. */
export interface Ends {
  readonly results: readonly Result[];
  /** Hosts on which the command was never tried. */
  readonly neverStarted: readonly string[];
  /** Hosts whose end is not known, and which did not answer. */
  readonly silent: readonly string[];
}

/** Waits for the end on each host. `told`: called with each result as it is known. */
export async function endsOf(found: Found, args: Arguments, told: (result: Result) => void): Promise<Ends> {
  const { run, places } = found;
  const results: Result[] = [];
  const tell = (result: Result) => {
    results.push(result);
    told(result);
  };
  if (!run?.set) {
    await Promise.all(places.map(async (place) => tell(await endOf(place, args))));
    return { results, neverStarted: [], silent: [] };
  }
  const { states } = run;
  const neverStarted = found.hosts.filter((host) => states.get(host) === 'neverStarted');
  const recorded = found.hosts.flatMap((host) => run.resultOn(host) ?? []).filter(({ outcome }) => outcome !== 'lost');
  for (const result of recorded) tell(result);
  const known = new Set(recorded.map(({ host }) => host));
  const asked = new Map(places.filter(({ target }) => !known.has(target)).map((place) => [place.target, place]));
  const recording = asked.size ? joinRecording(args, run) : undefined;
  const ask = async (target: string) => {
    const result = await endOf(asked.get(target)!, args);
    recording?.end(result);
    tell(result);
  };
  const silent = asked.size ? await askEach(asked.keys(), ask) : [];
  await recording?.close();
  return { results, neverStarted, silent };
}

/** Waits for the end of a run without reading its output. */
async function endOf({ target, runId }: Place, args: Arguments): Promise<Result> {
  await using host = await reach(target, args);
  const running = host.attach(runId, { mode: 'observe', from: 'end', reject: false });
  running.stopCollecting();
  showWaiting(host, running, args);
  return await running;
}

/** The code of a single run; for several, 207 when one never started, and 1 when one failed or is not known. */
export function codeOf({ results, neverStarted, silent }: Ends): number {
  if (neverStarted.length) return EXIT.notStarted;
  if (results.length === 1 && !silent.length) return exitCodeOf(results[0]!);
  return silent.length === 0 && results.every(({ ok }) => ok) ? 0 : 1;
}

/** The last line of the results of `run`, a run on many hosts, in the format of --json. */
export function summaryOf({ results, neverStarted, silent }: Ends, run: PastRun): object {
  const ok = results.filter((result) => result.ok).length;
  const states: StateCounts = {};
  const count = (state: HostState, hosts: number) => hosts && (states[state] = (states[state] ?? 0) + hosts);
  for (const { outcome } of results) count(hostStateOf(outcome), 1);
  for (const host of silent) count(hostStateOf(run.states.get(host)!), 1);
  count('neverStarted', neverStarted.length);
  const total = results.length + neverStarted.length + silent.length;
  const progress = { total, ok, failed: results.length - ok, states };
  const summed = { runId: run.runId, progress, notStarted: new NodeSet(neverStarted) };
  return summaryJson(summed, results, (run.closedMs ?? Date.now()) - run.beginMs, false);
}
