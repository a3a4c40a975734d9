/** Hosts chosen by what became of a past run on them: `failed:RUN`, `changed:RUN`, `lost:RUN` and so on. */
import { UsageError } from '../../errors.js';
import type { History } from './history.js';
import type { PastRun } from './past-run.js';

/** The words before the colon, and the hosts that each one chooses. */
const CHOICES: Readonly<Record<string, (run: PastRun) => Iterable<string>>> = {
  ok: (run) => hostsWhere(run, (state) => state === 'ok'),
  failed: (run) => hostsWhere(run, (state) => !['ok', 'lost', ...UNFINISHED].includes(state)),
  changed: (run) => changed(run),
  lost: (run) => hostsWhere(run, (state) => state === 'lost'),
  unreachable: (run) => hostsWhere(run, (state) => state === 'unreachable'),
  neverStarted: (run) => hostsWhere(run, (state) => state === 'neverStarted'),
};

const UNFINISHED: readonly string[] = ['waiting', 'running', 'neverStarted'];

/** The words that may stand before the colon. */
export const selections: readonly string[] = Object.keys(CHOICES);

/**
 * The hosts of `failed:RUN` and the like, from the history alone. RUN is an id, its beginning, or a name. `failed`:
 * ended, and not ok; not `lost`, where the end is unknown. `changed`: the command ended with another answer than on most
 * hosts.
 * @throws UsageError when the word or the run is not known, or the run was on one host.
 */
export function selectHosts(text: string, history: History): ReadonlySet<string> {
  const [, word = '', name = ''] = /^([^:]*):(.*)$/s.exec(text) ?? [];
  const choose = Object.hasOwn(CHOICES, word) ? CHOICES[word] : undefined;
  if (!choose || !name)
    throw new UsageError(`"${text}" is not a selection such as failed:RUN; it begins with ${selections.join(', ')}`);
  const run = history.find(name)?.run;
  if (!run || run.forgotten)
    throw new UsageError(`there is no run "${name}" that you started from here: see sendall ps --fleet`);
  if (!run.set) throw new UsageError(`"${name}" ran on one host, ${run.hosts.join()}: name the host itself`);
  return new Set(choose(run));
}

function hostsWhere({ states }: PastRun, fits: (state: string) => boolean): string[] {
  return [...states].filter(([, state]) => fits(state)).map(([host]) => host);
}

/** Hosts that differ from the largest group, of those whose command ended by itself. */
function changed(run: PastRun): string[] {
  const groups = new Map<string, string[]>();
  for (const host of hostsWhere(run, (state) => ['ok', 'failed', 'signalled'].includes(state))) {
    const answer = run.answerOn(host);
    const group = groups.get(answer);
    if (group) group.push(host);
    else groups.set(answer, [host]);
  }
  const [, ...others] = [...groups.values()].sort((a, b) => b.length - a.length);
  return others.flat();
}
