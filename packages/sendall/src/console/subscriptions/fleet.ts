/** A fleet run: all its hosts once, then those that have changed. */
import type { PastRun } from '../../internal.js';
import { historyOf, type Context } from '../context.js';
import type { LiveFleet } from '../live-fleet.js';
import type { EventOf } from '../messages.js';
import { rowsOf } from '../operations/fleet.js';
import { pastFleet } from '../past.js';
import type { Subscription } from '../subscription.js';
import { pause, type Feed } from './feed.js';

/** Milliseconds between two events. */
const EVENT_MS = 100;
/** Milliseconds between two looks at the history, while another process runs it. */
const LOOK_MS = 1000;
/** Hosts in one event. */
const MOST_ROWS = 2000;

type Rows = Extract<EventOf<'fleet'>, { event: 'hosts' }>['hosts'];

export const fleet: Feed<'fleet'> = async ({ runId }, sub, context) => {
  const run = historyOf(context).find(runId)?.run;
  // Its caller has left, or was killed: we follow what goes on.
  if (run?.set && (run.stage === 'left' || run.stage === 'lost')) context.fleets.join(run);
  const live = context.fleets.live(runId);
  const past = run?.set ? run : live ? undefined : pastFleet(runId, context);
  const begin = async () => {
    const rows = live ? await followLive(live, past, sub) : await followHistory(past!, sub, context);
    if (!sub.over) await sub.event(endOf(rows));
  };
  return { value: { live: live !== undefined }, begin };
};

async function followLive(live: LiveFleet, past: PastRun | undefined, sub: Subscription<'fleet'>): Promise<Rows> {
  const changed = new Set<string>();
  let wake = (): void => undefined;
  const stop = live.watch((host) => {
    changed.add(host);
    wake();
  });
  void live.ended.then(() => wake());
  sub.signal.addEventListener('abort', () => wake(), { once: true });
  try {
    const rows = byHost(rowsOf(past, live));
    await tell([...rows.values()], sub);
    while (!sub.over && (changed.size || !live.over)) {
      if (!changed.size) await new Promise<void>((resolve) => (wake = resolve));
      const hosts = [...changed];
      changed.clear();
      const news = hosts.flatMap((host) => live.rows.get(host) ?? []);
      for (const row of news) rows.set(row.host, row);
      await tell(news, sub);
      await pause(EVENT_MS, sub.signal);
    }
    return [...rows.values()];
  } finally {
    stop();
  }
}

async function followHistory(run: PastRun, sub: Subscription<'fleet'>, context: Context): Promise<Rows> {
  let rows = byHost(rowsOf(run));
  await tell([...rows.values()], sub);
  let now = run;
  while (!sub.over && now.stage === 'running') {
    await pause(LOOK_MS, sub.signal);
    if (sub.over) break;
    now = pastFleet(run.runId, context);
    const before = rows;
    rows = byHost(rowsOf(now));
    const news = [...rows.values()].filter((row) => before.get(row.host)?.state !== row.state);
    await tell(news, sub);
  }
  return [...rows.values()];
}

const byHost = (rows: Rows) => new Map(rows.map((row) => [row.host, row]));

async function tell(news: Rows, sub: Subscription<'fleet'>): Promise<void> {
  for (let at = 0; at < news.length; at += MOST_ROWS)
    await sub.event({ event: 'hosts', hosts: news.slice(at, at + MOST_ROWS) });
}

function endOf(rows: Rows): EventOf<'fleet'> {
  const outcomes: Record<string, number> = {};
  for (const { state, outcome = state } of rows) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  return { event: 'ended', ok: (outcomes.ok ?? 0) === rows.length, outcomes };
}
