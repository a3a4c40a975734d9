/** One line on a terminal about the hosts of a run: how many have ended, who is late, and what the others do. */
import { NodeSet, type FleetRun, type HostState, type HostStatus } from '../../../index.js';
import type { Arguments } from '../../words/command.js';
import { columnsOf, fit } from '../columns.js';
import { clearStatus, hasStatusLine, showStatus } from '../status-line.js';

/** Milliseconds before the line appears. */
const PATIENCE = 1000;
/** Milliseconds between two drawings. */
const PERIOD = 500;
/** A host is late when it takes this many times as long as half of those that have ended. */
const MUCH_LONGER = 2;

type Watched = Pick<FleetRun, 'progress' | 'states' | 'isLinked'>;

/**
 * Shows the line until the returned function is called. Output of ours and of hosts takes its place until the next
 * drawing. `more`: what follows the counts.
 */
export function showFleetLine(run: Watched, args: Arguments, more: () => string = () => ''): () => void {
  if (!hasStatusLine() || args.on('quiet')) return () => undefined;
  let timer = setTimeout(function draw() {
    showStatus(fleetLine(run, performance.now(), (process.stderr.columns || 80) - 1, more()));
    timer = setTimeout(draw, PERIOD).unref();
  }, PATIENCE).unref();
  return () => {
    clearTimeout(timer);
    clearStatus();
  };
}

/** The line at a moment, on the clock of `performance.now()`; it fits into `columns`. */
export function fleetLine(run: Watched, now: number, columns: number, more = ''): string {
  const { total, ok, failed } = run.progress;
  const head = `sendall: ${ok + failed} of ${total} ended, ${failed} failed${more}`;
  const late = lateHosts(run, now);
  const others = countOthers(run, late);
  const tail = others.length ? `; ${others.join(', ')}` : '';
  if (!late.size) return fit(head + tail, columns);
  const room = columns - head.length - tail.length;
  const names = `; late: ${[...groupsOf(run, late, now)].join(', ')}`;
  return fit(head + (columnsOf(names) <= room ? names : `${fit(names, Math.max(0, room - 3))}...`) + tail, columns);
}

const isOnItsWay = (state: HostState) => state === 'connecting' || state === 'queued' || state === 'running';

function lateHosts({ states }: Watched, now: number): Map<string, HostStatus> {
  const ended = [...states.values()].filter(({ state, begun }) => begun !== undefined && !isOnItsWay(state));
  if (!ended.length) return new Map();
  const times = ended.map(({ begun, since }) => since - begun!).sort((a, b) => a - b);
  const usual = Math.max(PATIENCE, MUCH_LONGER * times[times.length >> 1]!);
  return new Map([...states].filter(([, { state, begun = now }]) => isOnItsWay(state) && now - begun > usual));
}

/** "web[1,3] (running 8 s)" and so on. */
function* groupsOf(run: Watched, late: ReadonlyMap<string, HostStatus>, now: number): Generator<string> {
  const groups = new Map<string, { names: string[]; since: number }>();
  for (const [host, { state, since }] of late) {
    const what = state !== 'connecting' && !run.isLinked(host) ? 'no link' : state;
    const group = groups.get(what);
    if (group) group.names.push(host);
    else groups.set(what, { names: [host], since });
    if (group) group.since = Math.min(group.since, since);
  }
  for (const what of ['running', 'queued', 'no link', 'connecting']) {
    const group = groups.get(what);
    if (!group) continue;
    const time = what === 'running' || what === 'queued' ? ` ${Math.round((now - group.since) / 1000)} s` : '';
    yield `${new NodeSet(group.names).toString()} (${what}${time})`;
  }
}

/** "10 running", "3 waiting": hosts without an end that are not late. */
function countOthers({ progress }: Watched, late: ReadonlyMap<string, HostStatus>): string[] {
  const isLate = new Map<HostState, number>();
  for (const { state } of late.values()) isLate.set(state, (isLate.get(state) ?? 0) + 1);
  return (['running', 'queued', 'connecting', 'waiting'] as const).flatMap((state) => {
    const count = (progress.states[state] ?? 0) - (isLate.get(state) ?? 0);
    return count ? [`${count} ${state}`] : [];
  });
}
