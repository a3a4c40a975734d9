/** The fleet runs that go on in this console: those it started, and older ones that it follows to their end. */
import { SendallError } from '../errors.js';
import type { Home } from '../home.js';
import { fleet, NodeSet, type ConnectOptions, type FleetRun } from '../index.js';
import { History, type PastRun } from '../internal.js';
import { programOf, type Command } from './command.js';
import { LiveFleet } from './live-fleet.js';

interface FleetsLimits {
  readonly fleets: number;
  readonly keepOutput: number;
  readonly commands: number;
}

interface Remembered {
  readonly command: Command;
  readonly targets: string;
}

export class Fleets {
  readonly #home: Home;
  readonly #options: ConnectOptions;
  readonly #limits: FleetsLimits;
  readonly #live = new Map<string, LiveFleet>();
  /** The words of runs that were started here, the oldest first. */
  readonly #remembered = new Map<string, Remembered>();

  constructor(home: Home, options: ConnectOptions, limits: FleetsLimits) {
    this.#home = home;
    this.#options = options;
    this.#limits = limits;
  }

  isLive(runId: string): boolean {
    return this.#live.has(runId);
  }

  live(runId: string): LiveFleet | undefined {
    return this.#live.get(runId);
  }

  /** The command of a run that was started here, and its hosts, folded; undefined for others. */
  remembered(runId: string): Remembered | undefined {
    return this.#remembered.get(runId);
  }

  /** Begins a run. @throws SendallError when there are too many. */
  begin(run: FleetRun, names: readonly string[], command: Command): void {
    this.#checkRoom();
    const { runId } = run;
    this.#remembered.delete(runId);
    this.#remembered.set(runId, { command, targets: new NodeSet(names).toString() });
    for (const [oldest] of this.#remembered) {
      if (this.#remembered.size <= this.#limits.commands) break;
      this.#remembered.delete(oldest);
    }
    const beginning = {
      runId,
      hosts: names,
      idOn: (host: string) => run.idOn(host),
      name: command.options?.name,
      ...programOf(command),
    };
    const hosts = names.map((host) => ({ host }));
    this.#follow(run, hosts, (options) => new History(this.#home).begin(beginning, options));
  }

  /** Follows a run whose caller has left, so that its end is seen. @throws SendallError when there are too many. */
  join(past: PastRun): void {
    const { states } = past;
    const open = past.places.filter(({ host }) => ['running', 'lost'].includes(states.get(host)!));
    if (!open.length || this.#live.has(past.runId)) return;
    this.#checkRoom();
    const places = open.map(({ host, runId }) => ({ target: host, runId }));
    const run = fleet(
      open.map(({ host }) => host),
      this.#options,
    ).attach(places, { mode: 'observe', reject: false });
    this.#follow(
      run,
      open.map(({ host }) => ({ host, begunMs: past.turnOn(host) })),
      (options) => new History(this.#home).join(past, options),
      past.runId,
    );
  }

  /** The commands go on by themselves. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#live.values()].map(async (live) => await live.leave()));
  }

  #follow(
    run: FleetRun,
    hosts: ConstructorParameters<typeof LiveFleet>[1],
    record: ConstructorParameters<typeof LiveFleet>[2],
    joined?: string,
  ): void {
    const { keepOutput } = this.#limits;
    const live = new LiveFleet(run, hosts, record, { keepOutput, joined: joined !== undefined });
    const runId = joined ?? run.runId;
    this.#live.set(runId, live);
    void live.ended.then(() => this.#live.delete(runId));
  }

  #checkRoom(): void {
    if (this.#live.size >= this.#limits.fleets)
      throw new SendallError('LIMIT', `${this.#limits.fleets} fleet runs go on in this console already (fleets)`);
  }
}
