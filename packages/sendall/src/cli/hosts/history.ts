/** The history of this user's runs, as commands write and read it. */
import { UsageError } from '../../errors.js';
import { resolveHome } from '../../home.js';
import type { FleetRun } from '../../index.js';
import { History, MAX_BLOB, type PastRun, type Recording } from '../../internal.js';
import type { Arguments } from '../words/command.js';
import { reasonOf, say } from '../show/print.js';
import { formatSize, parseSize } from '../words/units.js';

/** Runs that completion offers. */
const MOST_OFFERED = 50;

export const history = (): History => new History(resolveHome());

/** A command for many hosts. */
export interface ForMany {
  readonly hosts: Iterable<string>;
  readonly name: string | undefined;
  readonly program: string;
  /** The number of its other words. */
  readonly words: number;
}

/** Records the begin of a run; nothing may have started before. */
export function beginRecording(
  args: Arguments,
  run: Pick<FleetRun, 'runId' | 'idOn'>,
  { hosts, ...rest }: ForMany,
): Recording {
  const { runId } = run;
  const beginning = { runId, hosts: [...hosts], idOn: (host: string) => run.idOn(host), ...rest };
  return history().begin(beginning, { keepOutput: keepOutputOf(args), failed: onceTold(args) });
}

/** Records what else is learned about a run on many hosts. */
export function joinRecording(args: Arguments, run: PastRun | undefined): Recording | undefined {
  return run?.set && history().join(run, { failed: onceTold(args) });
}

/** A full disk costs the history and not the run: the user is told once. */
function onceTold(args: Arguments): (error: Error) => void {
  let told = args.on('quiet');
  return (error) => {
    if (!told) say(`sendall: the history of this run is incomplete: ${reasonOf(error)}`);
    told = true;
  };
}

/** @throws UsageError for a wrong size. */
export function keepOutputOf(args: Arguments): number | undefined {
  const text = args.text('keep-output');
  if (text === undefined) return undefined;
  const bytes = parseSize(text, '--keep-output');
  if (bytes > MAX_BLOB) throw new UsageError(`--keep-output: ${text} is more than ${formatSize(MAX_BLOB)}`);
  return bytes;
}

/** Ids and names of the newest runs, for completion and suggestions. `sets`: only runs on many hosts. */
export function knownRuns({ sets = false } = {}): string[] {
  const known = history()
    .runs()
    .runs.filter(({ forgotten, set }) => !forgotten && (!sets || set))
    .slice(0, MOST_OFFERED);
  return [...new Set(known.flatMap(({ runId, name }) => (name === undefined ? [runId] : [name, runId])))];
}
