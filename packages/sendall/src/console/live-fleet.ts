/** One fleet run that goes on here: its hosts' states, for any number of pages, and its record in the history. */
import type { FleetRun, HostEvent } from '../index.js';
import type { Recording } from '../internal.js';
import { inTime } from './in-time.js';
import type { EventOf } from './messages.js';

/** Where a host stands. */
export type HostRow = Extract<EventOf<'fleet'>, { event: 'hosts' }>['hosts'][number];
/** A host, and when its turn came if that is known already. */
interface Begun {
  readonly host: string;
  readonly begunMs?: number | undefined;
}
type RecordingOptions = { readonly keepOutput: number; readonly failed: (error: Error) => void };

export class LiveFleet {
  /** Resolves when it is over, or was left. */
  readonly ended: Promise<void>;
  over = false;
  readonly rows = new Map<string, HostRow>();
  /** Why its history is not complete. */
  problem: string | undefined;
  readonly #run: FleetRun;
  readonly #recording: Recording;
  /** Began elsewhere: each of its hosts may run it. */
  readonly #joined: boolean;
  readonly #watchers = new Set<(host: string) => void>();
  #closing: Promise<void> | undefined;

  constructor(
    run: FleetRun,
    hosts: readonly Begun[],
    record: (options: RecordingOptions) => Recording,
    { keepOutput, joined }: { readonly keepOutput: number; readonly joined: boolean },
  ) {
    this.#run = run;
    this.#joined = joined;
    for (const { host, begunMs } of hosts)
      this.rows.set(host, { host, runId: run.idOn(host), state: 'waiting', begunMs });
    this.#recording = record({ keepOutput, failed: (error) => (this.problem ??= error.message) });
    this.ended = this.#follow();
  }

  /** The hosts where the command may go on. */
  get open(): HostRow[] {
    const states = this.#joined ? ['waiting', 'connecting', 'queued', 'running'] : ['queued', 'running'];
    return [...this.rows.values()].filter(({ state }) => states.includes(state));
  }

  /** Calls back with each host whose state has changed, until the returned function is called. */
  watch(changed: (host: string) => void): () => void {
    this.#watchers.add(changed);
    return () => void this.#watchers.delete(changed);
  }

  /** Starts no further host. One that began elsewhere has begun on all of its hosts, and their ends are still to be seen. */
  stop(reason: string): void {
    if (!this.#joined) this.#run.stop(reason);
  }

  /** Starts no further host and ends the commands. */
  async cancel(reason: string): Promise<void> {
    await this.#run.cancel({ reason });
  }

  /** The commands go on by themselves. */
  async leave(): Promise<void> {
    this.#recording.leave();
    await inTime(this.#run.detach().then(async () => await this.ended));
    await this.#close();
  }

  async #follow(): Promise<void> {
    try {
      // Output is read as it comes and goes to the history, so no page can slow a command.
      for await (const event of this.#recording.watch(this.#run)) this.#take(event);
    } catch (error) {
      this.problem ??= (error as Error).message;
    }
    await this.#close();
    this.over = true;
  }

  /** No more is recorded. */
  async #close(): Promise<void> {
    await (this.#closing ??= this.#recording.close(this.#run.notStarted));
  }

  #take(event: HostEvent): void {
    if (event.event === 'host') {
      const { host, runId, state, outcome, reason } = event;
      const sinceMs = Date.now();
      const known = this.rows.get(host);
      const begunMs = known?.begunMs ?? (['waiting', 'neverStarted'].includes(state) ? undefined : sinceMs);
      this.rows.set(host, { ...known, host, runId, state, outcome, reason, begunMs, sinceMs });
      this.#tell(host);
    } else if (event.event === 'result') {
      const { host, result } = event;
      this.rows.set(host, { ...this.rows.get(host)!, code: result.code, durationMs: result.timing.durationMs });
      this.#tell(host);
    }
  }

  #tell(host: string): void {
    for (const changed of this.#watchers) changed(host);
  }
}
