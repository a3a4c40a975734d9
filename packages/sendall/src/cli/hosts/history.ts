/** Records the runs this user started and where, so `attach` and friends find them by id, its beginning, or name. */
import { appendFileSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { UsageError } from '../../errors.js';
import { resolveHome } from '../../home.js';

/** Bytes of history above which only the newest entries are kept. */
const LARGEST = 1024 * 1024;
const KEPT_ENTRIES = 2000;

export interface Entry {
  readonly runId: string;
  readonly host: string;
  readonly name?: string | undefined;
  /** For one command on several hosts: the id its runs share. Absent: the run's own id. */
  readonly group?: string | undefined;
}

const file = () => join(resolveHome().state, 'started.jsonl');

/** Records a run. A full disk must not stop a command, so a failure to record is ignored. */
export function noteRun(entry: Entry): void {
  const path = file();
  const line = `${JSON.stringify(entry)}\n`;
  const options = { mode: 0o600 };
  try {
    appendFileSync(path, line, options);
    if (statSync(path).size <= LARGEST) return;
    const recent = readFileSync(path, 'utf8').split('\n').slice(-KEPT_ENTRIES).join('\n');
    writeFileSync(`${path}.new`, recent, options);
    renameSync(`${path}.new`, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      appendFileSync(path, line, options);
    } catch {
      // Only lookup by a beginning or a name suffers.
    }
  }
}

/** The recorded runs, newest first. */
function entries(): Entry[] {
  let lines: string[];
  try {
    lines = readFileSync(file(), 'utf8').split('\n');
  } catch {
    return [];
  }
  return lines
    .flatMap((line) => {
      try {
        const entry = JSON.parse(line) as Partial<Entry> | null;
        return typeof entry?.runId === 'string' && typeof entry.host === 'string' ? [entry as Entry] : [];
      } catch {
        // The line was cut off by a full disk or a crash.
        return [];
      }
    })
    .toReversed();
}

/**
 * The runs that a word names: the newest with that name, or those whose id (or shared id) begins with it. Several only
 * when they belong to one command on several hosts.
 * @throws UsageError when the beginning is ambiguous.
 */
export function noted(word: string): readonly Entry[] {
  const all = entries();
  const groupOf = ({ group, runId }: Entry) => group ?? runId;
  const named = all.find(({ name }) => name === word);
  if (named) return unique(all.filter((each) => each.name === word && groupOf(each) === groupOf(named)));
  const beginning = word.toLowerCase();
  const grouped = all.filter((each) => groupOf(each).startsWith(beginning));
  const found = grouped.length ? grouped : all.filter(({ runId }) => runId.startsWith(beginning));
  const ids = new Set(found.map((each) => (grouped.length ? groupOf(each) : each.runId)));
  if (ids.size > 1) throw new UsageError(`"${word}" is the beginning of ${ids.size} runs: give more of the id`);
  return unique(found);
}

/** A run opened again under its id is still one run. */
function unique(list: readonly Entry[]): Entry[] {
  return [...new Map(list.map((each) => [`${each.host} ${each.runId}`, each])).values()].toReversed();
}

/** Ids and names of the newest runs, for completion and suggestions. */
export function knownRuns(): string[] {
  const recent = entries().slice(0, 50);
  return [...new Set(recent.flatMap(({ runId, name }) => (name ? [name, runId] : [runId])))];
}
