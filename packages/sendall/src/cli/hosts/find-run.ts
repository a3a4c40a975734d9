/** Finds a run and its host by the run's id, a beginning of the id, or its name. */
import { UsageError } from '../../errors.js';
import { AllHosts, resolveHome, type RunListing } from '../../index.js';
import { resolveTargets, type PastRun } from '../../internal.js';
import type { Arguments, Option } from '../words/command.js';
import { askEach } from './each-host.js';
import { history, knownRuns } from './history.js';
import { reach } from './reach.js';
import { isOneTarget } from '../words/targets.js';

export const findOptions: Readonly<Record<string, Option>> = {
  on: { value: 'TARGETS', help: 'look for the run on these hosts (default: where it was started)', complete: 'host' },
};

const WHOLE_ID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/** Where a run is, before connecting. */
export interface Place {
  readonly target: string;
  readonly runId: string;
}

/** A run that was found. */
export interface Found {
  /** Where it may be: several places when the command runs on several hosts. */
  readonly places: readonly Place[];
  /** The hosts that were asked for: more than have it, if it was never started on some. */
  readonly hosts: readonly string[];
  /** What the history knows of it; undefined when this user did not start it from here. */
  readonly run: PastRun | undefined;
}

/**
 * Finds a run among the runs this user started, else on the hosts of `--on`, else on this machine.
 * @throws UsageError when there is no such run, or the beginning is ambiguous.
 */
export async function findRun(word: string, args: Arguments): Promise<Found> {
  const on = args.text('on');
  const known = history().find(word);
  if (on === undefined && known) return { ...known, places: known.places.map(asPlace) };
  if (on === undefined) {
    const found = await searchHere(word, args);
    if (found) return { places: [{ target: 'local', runId: found }], hosts: ['local'], run: undefined };
    throw new UsageError(await unknownRun(word));
  }
  const targets = isOneTarget(on) ? [on] : [...resolveTargets(on)];
  const hosts = known?.hosts.filter((host) => targets.includes(host));
  if (known && hosts?.length) {
    const places = known.places.filter(({ host }) => hosts.includes(host)).map(asPlace);
    return { places, hosts, run: known.run };
  }
  const places = await searchOn(targets, word, args);
  return { places, hosts: places.map(({ target }) => target), run: undefined };
}

/**
 * Like `findRun`, for a run that began on one host at least.
 * @throws UsageError when there is no such run, the beginning is ambiguous, or the command never began anywhere.
 */
export async function findBegun(word: string, args: Arguments): Promise<Found> {
  const found = await findRun(word, args);
  if (!found.places.length) throw new UsageError(`"${word}" began on no host: see sendall result ${word}`);
  return found;
}

/** The places of such a run. */
export async function findPlaces(word: string, args: Arguments): Promise<readonly Place[]> {
  return (await findBegun(word, args)).places;
}

const asPlace = ({ host, runId }: { readonly host: string; readonly runId: string }): Place => ({
  target: host,
  runId,
});

/** Searches hosts, each of which may have it under this id. */
async function searchOn(targets: readonly string[], word: string, args: Arguments): Promise<readonly Place[]> {
  const places = new Map<string, Place>();
  const look = async (target: string) => {
    const isSure = targets.length === 1 && WHOLE_ID.test(word);
    const runId = isSure ? word.toLowerCase() : await search(word, target, args);
    if (runId) places.set(target, { target, runId });
  };
  if (targets.length === 1) await look(targets[0]!);
  else await askEach(targets, look);
  if (!places.size)
    throw new UsageError(`there is no run "${word}" on ${args.text('on')}: see "sendall ps --all ${args.text('on')}"`);
  return targets.flatMap((target) => places.get(target) ?? []);
}

/** The single word of a command that takes one run. */
export function oneWord(args: Arguments, command: string): string {
  if (args.words.length !== 1)
    throw new UsageError(`${command} takes one run: its id, the beginning of it, or its name`);
  return args.words[0]!;
}

/** Searches this machine, which need not have an agent. */
async function searchHere(word: string, args: Arguments): Promise<string | undefined> {
  try {
    return await search(word, 'local', args);
  } catch (error) {
    if ((error as { code?: string }).code === 'UNREACHABLE') return undefined;
    throw error;
  }
}

/** Searches a host's runs. */
async function search(word: string, target: string, args: Arguments): Promise<string | undefined> {
  await using host = await reach(target, args);
  const listings: RunListing[] = [];
  for await (const run of host.runs({ all: true })) listings.push(run);
  const named = listings.filter(({ name }) => name === word).sort((a, b) => b.openedMs - a.openedMs)[0];
  if (named) return named.runId;
  const matches = listings.filter(({ runId }) => runId.startsWith(word.toLowerCase()));
  if (matches.length > 1)
    throw new UsageError(`"${word}" is the beginning of ${matches.length} runs on ${target}: give more of the id`);
  return matches[0]?.runId;
}

async function unknownRun(word: string): Promise<string> {
  const { closest } = await import('../words/closest.js');
  const near = closest(word, knownRuns());
  if (near) return `there is no run "${word}": did you mean "${near}"?`;
  const [host] = AllHosts.of(resolveHome()).lastKnown.list();
  return host
    ? `there is no run "${word}" that you started from here: name its host (--on ${host.name}), or look on all (--on all)`
    : `there is no run "${word}" on this machine: see "sendall ps --all"`;
}
