/** The hosts of a fleet run as the page knows them: the state of each, how many of each kind, and which of them are late. */

/** Another state of a host, as the feed reports it. Times are milliseconds since the epoch. */
export interface HostChange {
  readonly host: string;
  /** Its run id there. */
  readonly runId?: string | undefined;
  /** As in the API: "waiting", "connecting", "queued", "running", "exited", "neverStarted", or an outcome. */
  readonly state: string;
  /** With "exited": "ok", "failed" or "signalled". */
  readonly outcome?: string | undefined;
  readonly code?: number | undefined;
  readonly reason?: string | undefined;
  /** When its turn came. */
  readonly begunMs?: number | undefined;
  /** When it came into this state. */
  readonly sinceMs?: number | undefined;
  /** With a result: how long the command took. */
  readonly durationMs?: number | undefined;
}

/** What a reader tells apart at a glance, in the order of the bar: first what has ended, then what has not. */
export const KINDS = ['ok', 'failed', 'stopped', 'unclear', 'running', 'starting', 'waiting', 'never'] as const;
export type Kind = (typeof KINDS)[number];

/** `stopped`: ended by a limit or by a caller. Every state that is not here has no certain end: it is `unclear`. */
const KIND_OF: Readonly<Record<string, Kind>> = {
  waiting: 'waiting',
  connecting: 'starting',
  queued: 'starting',
  running: 'running',
  ok: 'ok',
  failed: 'failed',
  signalled: 'failed',
  timeout: 'stopped',
  idle: 'stopped',
  cancelled: 'stopped',
  limits: 'stopped',
  neverStarted: 'never',
};

/** The kind of a host with this state. */
export const kindOf = ({ state, outcome }: Pick<HostChange, 'state' | 'outcome'>): Kind =>
  KIND_OF[state === 'exited' ? (outcome ?? '') : state] ?? 'unclear';

/** A host that takes much longer than the others. */
export interface LateHost {
  readonly host: string;
  readonly state: string;
  /** Since its turn came. */
  readonly forMs: number;
}

/** A host is late when it takes this many times as long as half of those that have ended, and at least a second. */
const MUCH_LONGER = 2;
const PATIENCE_MS = 1000;

const HAS_ENDED: ReadonlySet<Kind> = new Set(['ok', 'failed', 'stopped', 'unclear']);
export const isOnItsWay = (kind: Kind) => kind === 'running' || kind === 'starting';

export class FleetHosts {
  readonly #all = new Map<string, HostChange>();
  readonly #counts = new Map<Kind, number>(KINDS.map((kind) => [kind, 0]));
  /** How long each host took that has ended, its link included. */
  readonly #times = new Map<string, number>();
  #sorted: Float64Array | undefined;

  take(changes: readonly HostChange[]): void {
    for (const change of changes) {
      const before = this.#all.get(change.host);
      if (before) this.#count(kindOf(before), -1);
      const kind = kindOf(change);
      this.#count(kind, 1);
      const { sinceMs } = change;
      // Without that time, its first state on the way tells it.
      const begunMs = change.begunMs ?? before?.begunMs ?? (isOnItsWay(kind) ? sinceMs : undefined);
      this.#all.set(change.host, { ...change, begunMs });
      if (HAS_ENDED.has(kind) && begunMs !== undefined && sinceMs !== undefined)
        this.#times.set(change.host, sinceMs - begunMs);
    }
    this.#sorted = undefined;
  }

  get total(): number {
    return this.#all.size;
  }

  count(...kinds: readonly Kind[]): number {
    return kinds.reduce((sum, kind) => sum + this.#counts.get(kind)!, 0);
  }

  get(host: string): HostChange | undefined {
    return this.#all.get(host);
  }

  /** Hosts whose command has come to an end, whatever that is. */
  get ended(): number {
    return this.count(...HAS_ENDED);
  }

  get isOver(): boolean {
    return this.count('running', 'starting', 'waiting') === 0;
  }

  /** Hosts of these kinds whose names contain `text`, in the order of the run. */
  rows(kinds: ReadonlySet<Kind>, text = ''): HostChange[] {
    const wanted = text.toLowerCase();
    const rows: HostChange[] = [];
    for (const row of this.#all.values())
      if ((kinds.size === 0 || kinds.has(kindOf(row))) && row.host.toLowerCase().includes(wanted)) rows.push(row);
    return rows;
  }

  /** How long half of the hosts took that have ended; undefined before the first has. */
  get usualMs(): number | undefined {
    this.#sorted ??= Float64Array.from(this.#times.values()).sort();
    return this.#sorted[this.#sorted.length >> 1];
  }

  /** Hosts that take much longer than the others, the latest first. */
  late(nowMs: number): LateHost[] {
    const { usualMs } = this;
    if (usualMs === undefined || this.count('running', 'starting') === 0) return [];
    const bound = Math.max(PATIENCE_MS, MUCH_LONGER * usualMs);
    const late: LateHost[] = [];
    for (const row of this.#all.values()) {
      const forMs = nowMs - (row.begunMs ?? nowMs);
      if (forMs > bound && isOnItsWay(kindOf(row))) late.push({ host: row.host, state: row.state, forMs });
    }
    return late.toSorted((a, b) => b.forMs - a.forMs);
  }

  #count(kind: Kind, by: 1 | -1): void {
    this.#counts.set(kind, this.#counts.get(kind)! + by);
  }
}
