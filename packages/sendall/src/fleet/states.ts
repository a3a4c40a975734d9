/** Where each host of a fleet run stands: every host is in exactly one state. */
import type { Outcome, Result } from '../client/result/result.js';

/** The outcomes of a command that ended by itself. */
export type OwnEnd = 'ok' | 'failed' | 'signalled';

/**
 * A host's state. The first four lead to its end; all others are ends. `waiting`: for its turn. `connecting`: a link is
 * being made. `queued`: the host has the command and has not started it yet. `exited`: the command ended by itself; its
 * outcome says how. `neverStarted`: its turn never came. The other ends are outcomes of a result.
 */
export type HostState =
  | 'waiting'
  | 'connecting'
  | 'queued'
  | 'running'
  | 'exited'
  | Exclude<Outcome, OwnEnd>
  | 'neverStarted';

/** A host's state, and what is known about it. */
export interface HostStatus {
  readonly state: HostState;
  /** With `exited`: how the command ended. */
  readonly outcome?: OwnEnd;
  /** Why the host is not ok. */
  readonly reason?: string;
  /** When its turn came, on the clock of `performance.now()`; undefined before that. */
  readonly begun?: number;
  /** When it came into this state, on the same clock. */
  readonly since: number;
}

/** A host has come into another state. */
export interface HostStateEvent extends Omit<HostStatus, 'begun' | 'since'> {
  readonly event: 'host';
  readonly host: string;
  /** The command's run id on this host. */
  readonly runId: string;
}

const onTheWay: readonly HostState[] = ['waiting', 'connecting', 'queued', 'running'];

/** Hosts by state. */
export type StateCounts = Partial<Record<HostState, number>>;

/** The states of a run's hosts. `changed` is called with each change. */
export class HostStates {
  readonly all: ReadonlyMap<string, HostStatus>;
  ok = 0;
  changed: (host: string, status: HostStatus) => void = () => undefined;
  readonly #all = new Map<string, HostStatus>();
  readonly #counts: Record<string, number> = {};

  constructor(names: readonly string[]) {
    this.all = this.#all;
    const waiting: HostStatus = { state: 'waiting', since: performance.now() };
    for (const name of names) this.#all.set(name, waiting);
    this.#counts.waiting = names.length;
  }

  /** Hosts in each state that has any. */
  get counts(): StateCounts {
    return Object.fromEntries(Object.entries(this.#counts).filter(([, count]) => count > 0));
  }

  count(...states: readonly HostState[]): number {
    return states.reduce((sum, state) => sum + (this.#counts[state] ?? 0), 0);
  }

  hostsIn(...states: readonly HostState[]): string[] {
    return [...this.#all].filter(([, { state }]) => states.includes(state)).map(([name]) => name);
  }

  /** A host has come further on its way; a report from an earlier stage is too late. */
  reach(host: string, state: 'connecting' | 'queued' | 'running'): void {
    const stage = onTheWay.indexOf(this.#all.get(host)!.state);
    if (stage >= 0 && stage < onTheWay.indexOf(state)) this.#set(host, { state });
  }

  end(host: string, { outcome, ok, reason }: Pick<Result, 'outcome' | 'ok' | 'reason'>): void {
    const own = outcome === 'ok' || outcome === 'failed' || outcome === 'signalled';
    if (ok) this.ok += 1;
    this.#set(host, {
      ...(own ? { state: 'exited', outcome } : { state: outcome }),
      ...(ok ? {} : { reason }),
    });
  }

  /** Its turn never came, or ended before anything was sent. */
  skip(host: string, reason: string): void {
    this.#set(host, { state: 'neverStarted', reason });
  }

  #set(host: string, news: Omit<HostStatus, 'begun' | 'since'>): void {
    const since = performance.now();
    const { state: before, begun = news.state === 'neverStarted' ? undefined : since } = this.#all.get(host)!;
    const status: HostStatus = { ...news, ...(begun === undefined ? {} : { begun }), since };
    this.#counts[before]! -= 1;
    this.#counts[status.state] = (this.#counts[status.state] ?? 0) + 1;
    this.#all.set(host, status);
    this.changed(host, status);
  }
}
