/** Answers about runs, and what ends or forgets them. */
import { SendallError, UsageError } from '../../errors.js';
import type { Host, KillReport, Run, RunListing } from '../../index.js';
import type { Place } from '../access.js';
import { aimAt } from '../aim.js';
import { historyOf, type Context } from '../context.js';
import { askEach } from '../each.js';
import type { Value } from '../messages.js';
import { toldListing, toldPast, toldResult } from '../past.js';
import type { Answer } from './answer.js';

/** Runs of the history that are told at once. */
const PAGE = 100;
/** Runs that are listed of a host. */
const USUAL = 200;
const REASON = 'sendall console';

type Listing = NonNullable<Value<'runInfo'>['listing']>;
type Report = Value<'signal'>;

export const runs: Answer<'runs'> = async ({ targets = 'local', all = false, limit = USUAL }, context) => {
  const names = aimAt({ targets }, context);
  if (names.length > context.limits.listedHosts)
    throw new SendallError(
      'LIMIT',
      `these are ${names.length} hosts, and runs are listed of at most ${context.limits.listedHosts} (listedHosts)`,
    );
  const found = new Map<string, readonly Listing[]>();
  let isCut = false;
  const silent = await askEach(
    names,
    (name) => name,
    async (name) => {
      const { runs: listed, cut } = await listRuns(name, { all, limit }, context);
      found.set(name, listed);
      isCut ||= cut;
    },
  );
  return { runs: names.flatMap((name) => found.get(name) ?? []), silent, cut: isCut };
};

/** The runs of one host, at most `limit`. */
export async function listRuns(
  name: string,
  { all, limit }: { readonly all: boolean; readonly limit: number },
  { links }: Context,
): Promise<{ runs: Listing[]; cut: boolean }> {
  return await links.ask(name, async (host) => {
    const listed: Listing[] = [];
    for await (const each of host.runs({ all })) {
      if (listed.length >= limit) return { runs: listed, cut: true };
      listed.push(toldListing(each));
    }
    return { runs: listed, cut: false };
  });
}

export const history: Answer<'history'> = async ({ before, limit = PAGE }, context) => {
  const { runs: all, damaged } = historyOf(context).runs();
  const known = all.filter(({ forgotten }) => !forgotten);
  const start = before === undefined ? 0 : known.findIndex(({ runId }) => runId === before) + 1;
  if (before !== undefined && start === 0) throw new UsageError(`the history has no run ${before}`);
  const shown = known.slice(start, start + limit);
  const next = start + limit < known.length ? shown.at(-1)?.runId : undefined;
  return { runs: shown.map((run) => toldPast(run, context)), next, damaged };
};

export const runInfo: Answer<'runInfo'> = async ({ host: name, runId }, context) => {
  const past = historyOf(context).find(runId)?.run;
  const kept = past?.resultOn(name);
  const fleet = past?.set ? past.runId : undefined;
  let listing: Listing | undefined;
  try {
    listing = await context.links.ask(name, async (host) => await findListing(host, runId));
  } catch (error) {
    if (!kept) throw error;
  }
  if (!listing && !kept) throw unknown(name, runId);
  return { listing, result: kept && toldResult(kept), fleet };
};

async function findListing(host: Host, runId: string): Promise<Listing | undefined> {
  const found = async (all: boolean): Promise<RunListing | undefined> => {
    for await (const each of host.runs({ all })) if (each.runId === runId) return each;
    return undefined;
  };
  // Most runs that are looked at still go on.
  const run = (await found(false)) ?? (await found(true));
  return run && toldListing(run);
}

const unknown = (host: string, runId: string): SendallError =>
  new SendallError('UNKNOWN', `${host} does not know the run ${runId}, and the history keeps nothing of it`);

export const signal: Answer<'signal'> = async ({ host, runId, signal: name, scope = 'group' }, context) =>
  await joined({ host, runId }, context, async (run) => await run.kill(name, { scope }));

export const kill: Answer<'kill'> = async ({ host, runId, grace }, context) => {
  const live = host === undefined ? context.fleets.live(runId) : undefined;
  // First: the end of a host would be the turn of the next one.
  live?.stop(REASON);
  const places = host === undefined ? openPlaces(runId, context) : [{ host, runId }];
  const reports: Report[] = [];
  const options = { reason: REASON, ...(grace === undefined ? {} : { grace: grace as number }) };
  const silent = await askEach(
    places,
    (place) => place.host,
    async (place) => {
      reports.push(await joined(place, context, async (run) => await run.cancel(options)));
    },
  );
  // Also where it was just beginning.
  await live?.cancel(REASON);
  if (host !== undefined && silent[0]) throw new SendallError(silent[0].code, silent[0].message);
  return { reports, silent };
};

/** Where a fleet run may still go on. */
function openPlaces(runId: string, context: Context): readonly Place[] {
  const live = context.fleets.live(runId);
  if (live) return live.open.map((row) => ({ host: row.host, runId: row.runId }));
  const past = historyOf(context).find(runId)?.run;
  if (!past?.set) throw new UsageError(`the history has no fleet run ${runId}: name the host`);
  const { states } = past;
  return past.places.filter(({ host }) => ['running', 'lost'].includes(states.get(host)!));
}

/** Joins a run only to ask something of it. */
async function joined(
  { host: name, runId }: Place,
  { links }: Context,
  ask: (run: Run) => Promise<KillReport>,
): Promise<Report> {
  using lease = await links.use(name);
  const run = lease.host.attach(runId, { mode: 'observe', from: 'end', reject: false });
  run.stopCollecting();
  try {
    await run.attached;
    const { result, signalled, survivors, proof } = await ask(run);
    return {
      host: name,
      runId,
      result,
      signalled: [...signalled],
      survivors: survivors.map(({ pid, argv }) => ({ pid, argv: [...argv] })),
      proof,
    };
  } finally {
    await run.detach().catch(() => undefined);
  }
}

export const forget: Answer<'forget'> = async ({ host, runId }, context) => {
  const past = historyOf(context).find(runId)?.run;
  const set = past?.forgotten ? undefined : past?.set;
  if (host !== undefined) {
    await forgetAt({ host, runId }, context, false);
    if (past && !set) historyOf(context).forget(past);
    return { silent: [] };
  }
  if (!past || !set) throw new UsageError(`the history has no fleet run ${runId}: name the host`);
  if (context.fleets.isLive(runId)) throw new SendallError('NOT_FORGOTTEN', 'it still goes on: end it first');
  const silent = await askEach(
    past.places,
    (place) => place.host,
    async (place) => await forgetAt(place, context, true),
  );
  if (!silent.some(({ code }) => code === 'NOT_FORGOTTEN')) historyOf(context).forget(past);
  return { silent };
};

/** `lenient`: a host that does not know it has nothing to forget. */
async function forgetAt({ host: name, runId }: Place, { links }: Context, lenient: boolean): Promise<void> {
  await links.ask(name, async (host) => {
    await host.forget(runId).catch((error: SendallError) => {
      if (!lenient || error.code !== 'UNKNOWN') throw error;
    });
  });
}

export const watchLink: Answer<'watchLink'> = async (place, { access, origin }) => ({
  url: `${origin}/#${access.watchToken({ host: place.host, runId: place.runId })}`,
});

export const withdrawLink: Answer<'withdrawLink'> = async (place, { access }) => ({
  withdrawn: access.withdraw(place),
});
