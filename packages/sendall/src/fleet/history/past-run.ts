/** A run of the past: where it began, what state each host is in, and the results that are kept. */
import type { Outcome, Result } from '../../client/result/result.js';
import type { StreamName } from '../../client/streams/output.js';
import { lives } from '../../files/process-mark.js';
import { RecordLog } from '../../files/record-log.js';
import type { HostState } from '../states.js';
import { Blobs } from './blobs.js';
import { digestOf } from './collected.js';
import { runFile, type HistoryFolder } from './folder.js';
import { outputOf, pastResult } from './past-result.js';
import { hostRecord, isKept, unfoldHosts, type Begun, type Closed, type HostEnd, type SetFacts } from './records.js';

/** What is known of a host without asking it: how the command ended there, or where it stands. */
export type PastState = Outcome | Extract<HostState, 'waiting' | 'running' | 'neverStarted'>;

/** The state in which a fleet run would show it. */
export function hostStateOf(state: PastState): HostState {
  return state === 'ok' || state === 'failed' || state === 'signalled' ? 'exited' : state;
}

/** Where a run is, or was. */
export interface PastPlace {
  readonly host: string;
  readonly runId: string;
}

export class PastRun {
  readonly runId: string;
  readonly name: string | undefined;
  /** Milliseconds since the epoch. */
  readonly beginMs: number;
  /** Its facts as a run on a set of hosts; undefined for a run on one. */
  readonly set: SetFacts | undefined;
  readonly forgotten: boolean;
  readonly #begun: readonly Begun[];
  #ids: ReadonlyMap<string, string> | undefined;
  readonly #closed: Closed | undefined;
  readonly #folder: HistoryFolder;
  readonly #blobs: Blobs;
  #hosts: { turns: ReadonlyMap<string, number>; ends: ReadonlyMap<string, HostEnd>; damaged: number } | undefined;

  /** @internal Use History. `begun`: all records of its begin, oldest first. */
  constructor(begun: readonly Begun[], closed: Closed | undefined, forgotten: boolean, folder: HistoryFolder) {
    const last = begun.at(-1)!;
    this.runId = last.run;
    this.name = begun.findLast(({ name }) => name !== undefined)?.name;
    this.beginMs = last.at;
    this.set = forgotten ? undefined : begun.findLast(({ set }) => set)?.set;
    this.forgotten = forgotten;
    this.#begun = begun;
    this.#closed = closed;
    this.#folder = folder;
    this.#blobs = new Blobs(folder);
  }

  /** All hosts that the run named. */
  get hosts(): readonly string[] {
    return [...this.#idsByHost.keys()];
  }

  /** The run's id on a host. */
  idOn(host: string): string {
    return this.#idsByHost.get(host) ?? this.runId;
  }

  /** The hosts on which it has another id, as they are second names of a machine. */
  get others(): readonly PastPlace[] {
    return this.#begun.flatMap(({ ids = {} }) => Object.entries(ids).map(([host, runId]) => ({ host, runId })));
  }

  /** When its caller ended or left; undefined while it lives, or if it was killed. */
  get closedMs(): number | undefined {
    return this.#closed?.at;
  }

  /**
   * Where the run as a whole stands. `running`: its caller lives. `left`: its caller left, and commands went on. `lost`:
   * its caller was killed. `ended`: the end is known on each host where it began.
   */
  get stage(): 'running' | 'left' | 'lost' | 'ended' {
    if (this.hasCaller) return 'running';
    if (this.#closed) return this.#closed.closed;
    return [...this.states].every(([host, state]) => state === 'neverStarted' || this.#file.ends.has(host))
      ? 'ended'
      : 'lost';
  }

  /** Whether its caller still runs. */
  get hasCaller(): boolean {
    return !this.#closed && this.set !== undefined && lives(this.set.caller) === true;
  }

  /** Lines of the run's file that cannot be read. */
  get damaged(): number {
    return this.#file.damaged;
  }

  /** The number of hosts in each state. */
  get counts(): ReadonlyMap<PastState, number> {
    const counts = new Map<PastState, number>();
    const { closed, outcomes, neverStarted = [] } = this.#closed ?? {};
    if (closed === 'ended' && outcomes) {
      for (const [outcome, hosts] of Object.entries(outcomes)) counts.set(outcome as Outcome, hosts);
      if (neverStarted.length) counts.set('neverStarted', this.#skipped.size);
      // Under an id of its own a run may have begun more than once.
      if ([...counts.values()].reduce((sum, hosts) => sum + hosts, 0) === this.hosts.length) return counts;
      counts.clear();
    }
    for (const state of this.states.values()) counts.set(state, (counts.get(state) ?? 0) + 1);
    return counts;
  }

  /** How many hosts came to which end that is known for good. @internal */
  get endsByOutcome(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { outcome } of this.#file.ends.values())
      if (outcome !== 'lost') counts[outcome] = (counts[outcome] ?? 0) + 1;
    return counts;
  }

  /** The state of each host. */
  get states(): ReadonlyMap<string, PastState> {
    const { turns, ends } = this.#file;
    const isOpen = this.hasCaller;
    const skipped = this.#skipped;
    // Without a record of any turn, each host may have had one.
    const isKnown = turns.size > 0 || ends.size > 0;
    const stateOf = (host: string): PastState => {
      const end = ends.get(host);
      if (end) return end.outcome;
      if (skipped.has(host)) return 'neverStarted';
      if (turns.has(host)) return isOpen || this.#closed?.closed === 'left' ? 'running' : 'lost';
      if (isOpen) return 'waiting';
      return isKnown ? 'neverStarted' : 'lost';
    };
    return new Map(this.hosts.map((host) => [host, stateOf(host)]));
  }

  /** The hosts where the command may have begun, with its id there. */
  get places(): readonly PastPlace[] {
    const all = this.hosts.map((host) => ({ host, runId: this.idOn(host) }));
    if (!this.set) return all;
    const { states } = this;
    return all.filter(({ host }) => !['waiting', 'neverStarted', 'unreachable'].includes(states.get(host)!));
  }

  /** When the host had its turn, in milliseconds since the epoch; undefined when that was not seen. */
  turnOn(host: string): number | undefined {
    return this.#file.turns.get(host);
  }

  /** How the command ended on a host, without its output; undefined while it is not known here. */
  endOn(host: string): Pick<HostEnd, 'at' | 'outcome' | 'code' | 'reason' | 'durationMs'> | undefined {
    return this.#file.ends.get(host);
  }

  /** The result on a host; undefined while it is not known here. `digests`: with those of its output in any case. */
  resultOn(host: string, { digests = false } = {}): Result | undefined {
    const end = this.#file.ends.get(host);
    return end && pastResult(end, this.#blobs, digests);
  }

  /** A stream's output on a host; undefined when it is not kept. */
  outputOn(host: string, stream: StreamName): Buffer | undefined {
    const end = this.#file.ends.get(host);
    return end && outputOf(end, stream, this.#blobs);
  }

  /** Whether the end on a host is known for good, and its output is kept. */
  isKept(host: string): boolean {
    const end = this.#file.ends.get(host);
    if (!end || end.outcome === 'lost') return false;
    return this.outputOn(host, 'stdout') !== undefined && this.outputOn(host, 'stderr') !== undefined;
  }

  /** Whether the end on a host is known, but neither its output nor its digest. @internal */
  isBare(host: string): boolean {
    const end = this.#file.ends.get(host);
    return end !== undefined && [end.stdout, end.stderr].some((piece) => piece && !isKept(piece));
  }

  /** What tells one answer from another: how the command ended, and the digests of its output. */
  answerOn(host: string): string {
    const end = this.#file.ends.get(host);
    return JSON.stringify([end?.outcome, end?.code, end?.signal, digestOf(end?.stdout), digestOf(end?.stderr)]);
  }

  get #idsByHost(): ReadonlyMap<string, string> {
    if (this.#ids) return this.#ids;
    const ids = new Map<string, string>();
    for (const { run, hosts, ids: others = {} } of this.#begun)
      for (const host of unfoldHosts(hosts)) ids.set(host, Object.hasOwn(others, host) ? others[host]! : run);
    return (this.#ids = ids);
  }

  get #skipped(): ReadonlySet<string> {
    return new Set(unfoldHosts(this.#closed?.neverStarted ?? []));
  }

  get #file() {
    return (this.#hosts ??= readHosts(runFile(this.#folder, this.runId)));
  }
}

function readHosts(path: string) {
  const { records, damaged } = new RecordLog(path).read();
  const turns = new Map<string, number>();
  const ends = new Map<string, HostEnd>();
  let wrong = damaged;
  for (const value of records) {
    const record = hostRecord(value);
    if (!record) wrong++;
    else if ('turn' in record) turns.set(record.host, record.turn);
    else ends.set(record.host, record);
  }
  return { turns, ends, damaged: wrong };
}
