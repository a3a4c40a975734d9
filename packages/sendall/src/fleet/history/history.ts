/**
 * The runs that this user started from here, with the results of those on many hosts. It lives in `fleet/` of the state
 * folder: an index with the begin and the end of each run, a file for each run with a record for each host as it ends,
 * and each output once. Nothing in it is needed to run a command.
 */
import { rmSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../../errors.js';
import type { Home } from '../../home.js';
import { ownMark } from '../../files/process-mark.js';
import { RecordLog } from '../../files/record-log.js';
import { Blobs } from './blobs.js';
import { historyFolder, RUN_FILE, runFile, type HistoryFolder } from './folder.js';
import { noteBegin } from './note.js';
import { PastRun, type PastPlace } from './past-run.js';
import { Recording, type RecordingOptions } from './recording.js';
import { foldHosts, indexRecord, type Begun, type Closed } from './records.js';
import { sweep, type HistoryLimits } from './sweep.js';

/** A run on many hosts that is about to begin. */
export interface Beginning {
  readonly runId: string;
  readonly hosts: readonly string[];
  /** The run's id on a host. */
  readonly idOn: (host: string) => string;
  readonly name?: string | undefined;
  readonly program: string;
  /** The number of its other words. */
  readonly words: number;
}

/** A run that a word names. */
export interface Found {
  readonly run: PastRun;
  /** The hosts that the word means: all of the run, unless it is the run's other id on one of them. */
  readonly hosts: readonly string[];
  /** Where the command may have begun there. */
  readonly places: readonly PastPlace[];
}

/** Characters of a program's name that are recorded. */
const LONGEST_PROGRAM = 200;

export interface HistoryOptions extends HistoryLimits {
  /**
   * Tells the time, in milliseconds since the epoch.
   * @default Date.now
   */
  now?: () => number;
}

export class History {
  readonly #home: Home;
  readonly #folder: HistoryFolder;
  readonly #now: () => number;
  readonly #limits: HistoryLimits;

  constructor(home: Home, { now = Date.now, ...limits }: HistoryOptions = {}) {
    this.#home = home;
    this.#folder = historyFolder(home);
    this.#now = now;
    this.#limits = limits;
  }

  /** Records the begin of a run, before anything starts. Old history is removed meanwhile. */
  begin(run: Beginning, options: RecordingOptions): Recording {
    const { runId, hosts, idOn, name, program, words } = run;
    const others = hosts.filter((host) => idOn(host) !== runId).map((host) => [host, idOn(host)]);
    const begun: Begun = {
      run: runId,
      at: this.#now(),
      hosts: foldHosts(hosts),
      ...(others.length ? { ids: Object.fromEntries(others) as Record<string, string> } : {}),
      ...(name === undefined ? {} : { name }),
      set: { program: program.slice(0, LONGEST_PROGRAM), words, caller: ownMark() },
    };
    let { failed } = options;
    try {
      noteBegin(this.#home, begun);
    } catch (error) {
      failed(error as Error);
      failed = () => undefined;
    }
    const meanwhile = sweep(this.#home, this.#limits, this.#now());
    // It is awaited, but only at the end.
    meanwhile.catch(() => undefined);
    return new Recording(this.#home, runId, { open: hosts }, false, { ...options, failed, now: this.#now, meanwhile });
  }

  /** Records what else is learned of a run that began earlier. */
  join(run: PastRun, options: RecordingOptions): Recording {
    const { states } = run;
    const hostsIn = (...wanted: readonly string[]) => run.hosts.filter((host) => wanted.includes(states.get(host)!));
    const hosts = {
      open: hostsIn('running', 'lost'),
      bare: run.hosts.filter((host) => run.isBare(host)),
      skipped: hostsIn('neverStarted'),
      outcomes: run.endsByOutcome,
    };
    return new Recording(this.#home, run.runId, hosts, true, { ...options, now: this.#now });
  }

  /** All runs, the newest first, and how many lines of the index cannot be read. */
  runs(): { readonly runs: readonly PastRun[]; readonly damaged: number } {
    const { records, damaged } = new RecordLog(this.#folder.index).read();
    const runs = new Map<string, { begun: Begun[]; closed?: Closed | undefined; forgotten?: boolean }>();
    let wrong = damaged;
    for (const value of records) {
      const record = indexRecord(value);
      if (!record) {
        wrong++;
        continue;
      }
      const known = runs.get(record.run) ?? { begun: [] };
      // The newest begin decides the order.
      if ('hosts' in record) runs.delete(record.run);
      runs.set(record.run, known);
      if ('hosts' in record) {
        known.begun.push(record);
        known.closed = undefined;
      } else if ('closed' in record) known.closed = record;
      else known.forgotten = true;
    }
    const all = [...runs.values()]
      .filter(({ begun }) => begun.length)
      .map(({ begun, closed, forgotten = false }) => new PastRun(begun, closed, forgotten, this.#folder));
    return { runs: all.toReversed(), damaged: wrong };
  }

  /**
   * The run that a word names: the newest with that name, or the one whose id begins with it. A host on which it has
   * another id is found by that id, too.
   * @throws UsageError when the beginning is ambiguous.
   */
  find(word: string): Found | undefined {
    const { runs } = this.runs();
    const beginning = word.toLowerCase();
    const named = runs.find(({ name }) => name === word);
    const found = named ? [named] : runs.filter(({ runId }) => runId.startsWith(beginning));
    if (found.length > 1)
      throw new UsageError(`"${word}" is the beginning of ${found.length} runs: give more of the id`);
    const [run] = found;
    if (run) return { run, hosts: run.hosts, places: run.places };
    const others = runs.flatMap((each) =>
      each.others.filter(({ runId }) => runId.startsWith(beginning)).map((place) => ({ run: each, place })),
    );
    if (others.length > 1)
      throw new UsageError(`"${word}" is the beginning of ${others.length} runs: give more of the id`);
    return others[0] && { run: others[0].run, hosts: [others[0].place.host], places: [others[0].place] };
  }

  /**
   * Removes the results and the output of a run, and outputs that no other run has. Only its place stays known, so that
   * its hosts can be asked again.
   * @throws the file system's errors.
   */
  forget({ runId }: PastRun): void {
    const index = new RecordLog(this.#folder.index);
    index.append({ run: runId, at: this.#now(), forgotten: true });
    index.close();
    const own = runFile(this.#folder, runId);
    const blobs = new Blobs(this.#folder);
    // A run that uses one from now on may record that in a file that was looked at before.
    const unused = blobs.uses(digestsIn(own));
    rmSync(own, { force: true });
    if (!unused.size) return;
    for (const name of readdirSync(this.#folder.path))
      if (RUN_FILE.test(name)) for (const sha256 of digestsIn(join(this.#folder.path, name))) unused.delete(sha256);
    blobs.remove(unused);
  }
}

/** The digests in a run's file. */
function digestsIn(path: string): Set<string> {
  try {
    const text = readFileSync(path, 'latin1');
    return new Set([...text.matchAll(/"sha256":"([0-9a-f]{64})"/g)].map(([, sha256]) => sha256!));
  } catch {
    return new Set();
  }
}
