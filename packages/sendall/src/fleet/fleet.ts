/** The same command on many hosts. */
import { checkOptions, flag, type Rules } from '../client/options/check.js';
import { connect, CONNECT_RULES, inventoryOf, type ConnectOptions } from '../client/connect.js';
import type { AttachOptions, Host } from '../client/host.js';
import { isReadOnce, newRunId, prepareRun, RUN_RULES, type RunOptions, type Word } from '../client/options/options.js';
import type { Result } from '../client/result/result.js';
import type { TransferSource } from '../client/transfer/options.js';
import type { RunEvent } from '../client/streams/events.js';
import type { Meeting } from '../client/streams/meeting.js';
import type { StreamName } from '../client/streams/output.js';
import type { Run } from '../client/run/run.js';
import type { SharedOutputs } from '../client/run/shared-outputs.js';
import { SendallError, UsageError } from '../errors.js';
import type { Broadcast } from './broadcast.js';
import type { Dialling, Reach } from './dialling.js';
import { FleetTransfer, type FleetTransferOptions } from './fleet-transfer.js';
import type { Group, OutputDiff } from './gather.js';
import { idsFor } from './ids.js';
import { NodeSet } from '../sets/node-set.js';
import { progressOf, type Progress } from './progress.js';
import { Rollout, ROLLOUT_RULES, type RolloutOptions, type RolloutPlan } from './rollout.js';
import { HostStates, type HostStateEvent, type HostStatus } from './states.js';
import { resolveTargets } from './targets.js';

/** Options of a run on many hosts. */
export interface FleetRunOptions extends Omit<RunOptions, 'pty' | 'stdout' | 'stderr' | 'retry'>, RolloutOptions {
  /**
   * Receives equal output of several hosts once. The hosts send digests when the command ends; a single host sends the
   * bytes, and the results of the others name it (`stdoutFrom`). Events of output come right before the result, and only
   * from the host that sent them. `gather()` and `diff()` turn it on.
   * @default false
   */
  gather?: boolean;
}

/** A fleet's hosts cannot share a terminal or a file, and a shared run id allows only one try. */
const { pty: _pty, stdout: _stdout, stderr: _stderr, retry: _retry, ...SHARED_RULES } = RUN_RULES;
const FLEET_RULES: Rules<FleetRunOptions> = { ...SHARED_RULES, ...ROLLOUT_RULES, gather: flag };

/** An event of a run, with its host; or another state of a host. */
export type HostEvent = (RunEvent & { readonly host: string; readonly runId: string }) | HostStateEvent;

/** The result of a run on all its hosts. */
export interface FleetResult {
  /** Every host's command succeeded. */
  readonly ok: boolean;
  readonly results: readonly Result[];
  /** Hosts on which it was never tried, because too many others failed or it was cancelled. */
  readonly notStarted: NodeSet;
}

/**
 * The hosts of `targets`: an expression such as `web[01-20],!web07`, a NodeSet, or names. It connects only when a
 * command is run.
 * @throws UsageError when the expression is wrong, names no host, or a name is unknown.
 */
export function fleet(targets: string | Iterable<string>, options: ConnectOptions = {}): Fleet {
  checkOptions<ConnectOptions>('fleet', options, CONNECT_RULES);
  const inventory = inventoryOf(options);
  const names = typeof targets === 'string' ? resolveTargets(targets, inventory) : [...targets];
  if (typeof targets !== 'string' && !(names as string[]).length) throw new UsageError('the set names no host');
  // One by one: a list may cost more than its hosts, as with an inventory that is a program.
  const unknown = [...names].filter((name) => name !== 'local' && !name.includes(':') && !inventory.get(name));
  if (unknown.length)
    throw new UsageError(
      `${new NodeSet(unknown).toString()} ${unknown.length > 1 ? 'are' : 'is'} not known: see "sendall hosts"`,
    );
  return new Fleet(names, options);
}

/** Hosts that run the same command. */
export class Fleet {
  readonly set: NodeSet;
  readonly #names: readonly string[];
  readonly #options: ConnectOptions;
  readonly #reach: Reach;

  /** @internal Use fleet. */
  constructor(
    names: Iterable<string>,
    options: ConnectOptions,
    reach: Reach = (name, turn) => connect(name, { ...turn.dialOptions(options), early: true }),
  ) {
    this.#reach = reach;
    this.#names = [...new Set(names)];
    this.set = new NodeSet(this.#names);
    this.#options = options;
  }

  /**
   * Runs `argv` on each host. It starts when you first ask for its events, results or end.
   * @throws UsageError immediately when an option is wrong.
   */
  run(argv: readonly Word[], options: FleetRunOptions = {}): FleetRun {
    return this.#start((host, runOptions) => host.run(argv, runOptions), options);
  }

  /**
   * Runs shell text on each host.
   * @throws UsageError immediately when an option is wrong.
   */
  sh(script: Word, options: FleetRunOptions = {}): FleetRun {
    return this.#start((host, runOptions) => host.sh(script, runOptions), options);
  }

  /**
   * Brings files, folders and links to each host. The source is read once for all hosts that are equally far; it starts
   * when you first ask for its events, results or end.
   * @throws UsageError immediately when an option is wrong.
   */
  push(sources: TransferSource, destination: Word, options: FleetTransferOptions = {}): FleetTransfer {
    return this.#transfer('push', sources, destination, options);
  }

  /**
   * Gets files, folders and links from each host. In `destination`, `{host}` stands for the host's name; without it the
   * destination ends in "/", and each host gets a folder of its name in it.
   * @throws UsageError immediately when an option is wrong, or several hosts would write the same files.
   */
  pull(sources: Word | readonly Word[], destination: Word, options: FleetTransferOptions = {}): FleetTransfer {
    return this.#transfer('pull', sources, destination, options);
  }

  #transfer(
    direction: 'push' | 'pull',
    sources: TransferSource,
    destination: Word,
    options: FleetTransferOptions,
  ): FleetTransfer {
    const runId = options?.runId ?? newRunId();
    const ids = idsFor(this.#names, runId, inventoryOf(this.#options));
    return new FleetTransfer(this.#names, this.#reach, { direction, sources, destination }, { ...options, runId }, ids);
  }

  /** Joins existing runs, by host. `gather`: as for a run. */
  attach(
    runs: Iterable<{ readonly target: string; readonly runId: string }>,
    { gather, ...options }: AttachOptions & Pick<FleetRunOptions, 'gather'> = {},
  ): FleetRun {
    const ids = new Map([...runs].map(({ target, runId }) => [target, runId]));
    const [runId] = ids.values();
    const start = (host: Host, { sha256 = options.sha256 }: RunOptions) =>
      host.attach(ids.get(host.id)!, { ...options, sha256, reject: false });
    return new FleetRun([...ids.keys()], this.#reach, start, { runId, gather }, ids);
  }

  #start(begin: (host: Host, options: RunOptions) => Run, options: FleetRunOptions): FleetRun {
    checkOptions<FleetRunOptions>('fleet run', options, FLEET_RULES);
    const runId = options.runId ?? newRunId();
    const ids = idsFor(this.#names, runId, inventoryOf(this.#options));
    return new FleetRun(this.#names, this.#reach, begin, { ...options, runId }, ids);
  }
}

/**
 * One command on many hosts. Read it once: as events, as results, or by awaiting it. It has the same run id on every
 * host, so one id names the whole; if two names turn out to be one machine, the second gets another id.
 */
export class FleetRun implements AsyncIterable<HostEvent>, PromiseLike<FleetResult> {
  readonly runId: string;
  readonly #names: readonly string[];
  readonly #reach: Reach;
  /** From the beginning of its work on. */
  #dialling: Dialling | undefined;
  readonly #begin: (host: Host, options: RunOptions) => Run;
  readonly #runOptions: RunOptions;
  readonly #rollout: Rollout;
  readonly #ids: ReadonlyMap<string, string>;
  #stdin: Broadcast | undefined;
  #gathers: boolean;
  #shared: SharedOutputs | undefined;
  readonly #active = new Map<string, Run>();
  readonly #states: HostStates;
  /** Hosts whose commands go on without us. */
  readonly #left = new Set<string>();
  readonly #unread = new Set<StreamName>();
  #begun = false;

  /** @internal Use Fleet.run. */
  constructor(
    names: readonly string[],
    reach: Reach,
    begin: (host: Host, options: RunOptions) => Run,
    options: FleetRunOptions,
    ids: ReadonlyMap<string, string>,
  ) {
    const runOptions = Object.fromEntries(Object.entries(options).filter(([name]) => name in RUN_RULES));
    this.#names = names;
    this.#reach = reach;
    this.#begin = begin;
    this.#rollout = new Rollout(names, options);
    this.#runOptions = { ...runOptions, reject: false };
    this.runId = options.runId ?? newRunId();
    this.#ids = ids;
    this.#states = new HostStates(names);
    this.#gathers = options.gather ?? false;
    // Report wrong options now and once, not for each host.
    prepareRun({ verb: 'exec', argv: ['check'] }, { ...this.#runOptions, runId: this.runId, stdin: 'none' });
  }

  /** The run's id on a host. */
  idOn(host: string): string {
    return this.#ids.get(host) ?? this.runId;
  }

  /** The hosts of each batch. Reading the plan starts nothing. */
  get plan(): RolloutPlan {
    return this.#rollout.plan;
  }

  get progress(): Progress {
    return progressOf(this.#states, this.#names.length);
  }

  /** Each host's state at this moment. */
  get states(): ReadonlyMap<string, HostStatus> {
    return this.#states.all;
  }

  /** False while no host whose command may still run has a link, because links are being made or restored. */
  get linked(): boolean {
    return !this.progress.running || [...this.#active.values()].some((run) => run.linked);
  }

  /** Whether there is a link to this host. */
  isLinked(host: string): boolean {
    return this.#active.get(host)?.linked ?? false;
  }

  /** Hosts not tried so far. */
  get notStarted(): NodeSet {
    return new NodeSet(this.#states.hostsIn('waiting', 'neverStarted'));
  }

  /**
   * All events, in order for each host: those of its run, and `host` for each new state of the host. A slow reader slows
   * the commands.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<HostEvent, void, undefined> {
    const meeting = await this.#meetingWithStates();
    const rolled = this.#roll(async (run) => {
      let result: Result | undefined;
      for await (const event of run.events()) {
        if (event.event === 'result') ({ result } = event);
        await meeting.offer({ ...event, host: run.host, runId: run.runId });
      }
      return result;
    }).finally(() => meeting.close());
    yield* this.#read(meeting, rolled);
  }

  /**
   * Starts it on every host and disconnects immediately: yields the hosts' states on the way, and a "started" event for
   * each host, or the result of a run that never started.
   */
  async *launch(): AsyncGenerator<HostEvent, void, undefined> {
    const meeting = await this.#meetingWithStates();
    const rolled = this.#roll(async (run) => {
      const { host, runId } = run;
      try {
        const { pid } = await run.started;
        await run.detach();
        await meeting.offer({ event: 'started', pid, host, runId });
        return undefined;
      } catch {
        const result = await run;
        await meeting.offer({ event: 'result', result, host, runId });
        return result;
      }
    }).finally(() => meeting.close());
    yield* this.#read(meeting, rolled);
  }

  /** Each host's result as it ends. */
  async *results(): AsyncGenerator<Result, void, undefined> {
    const { Meeting: MeetingOfResults } = await import('./at-work.js');
    const meeting = new MeetingOfResults<Result>();
    const rolled = this.#roll(async (run) => {
      const result = await run;
      await meeting.offer(result);
      return result;
    }).finally(() => meeting.close());
    yield* this.#read(meeting, rolled);
  }

  // oxlint-disable-next-line unicorn/no-thenable -- it is awaited, as a run is
  then<A = FleetResult, B = never>(
    onResult?: ((value: FleetResult) => A | PromiseLike<A>) | null,
    onError?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#all().then(onResult, onError);
  }

  /** Hosts with equal results, grouped; the largest group first. */
  async gather(): Promise<Group[]> {
    this.#gathers = true;
    const { Gatherer } = await import('./at-work.js');
    const gatherer = new Gatherer();
    for await (const result of this.results()) gatherer.add(result);
    return gatherer.groups();
  }

  /**
   * The answer of most hosts, and the hosts that differ.
   * @throws SendallError when no host has answered.
   */
  async diff(): Promise<OutputDiff> {
    const [majority, ...others] = await this.gather();
    if (!majority) throw new SendallError('NO_RESULT', 'no host has answered, so there is nothing to compare');
    return { majority, others };
  }

  /** Starts no further host and cancels the running commands. A host to which a link is being made is not started. */
  async cancel(options: { reason?: string } = {}): Promise<void> {
    this.stop(options.reason ?? 'cancelled');
    await Promise.allSettled([...this.#active.values()].map((run) => run.cancel(options)));
  }

  /** Starts no further host and disconnects from the running commands. */
  async detach(): Promise<void> {
    this.stop('the caller left');
    await Promise.allSettled(
      [...this.#active].map(async ([host, run]) => {
        this.#left.add(host);
        // A run that never started keeps its own end.
        await run.detach().catch(() => this.#left.delete(host));
      }),
    );
  }

  /** Starts no further host. @internal */
  stop(why: string): void {
    this.#rollout.stop(why);
    this.#dialling?.stop();
  }

  /** Stops reading this stream on all hosts; output on its way is dropped. */
  stopReading(stream: StreamName): void {
    this.#unread.add(stream);
    for (const run of this.#active.values()) run.stopReading(stream);
  }

  async #all(): Promise<FleetResult> {
    const results: Result[] = [];
    for await (const result of this.results()) results.push(result);
    const { notStarted } = this;
    return { ok: results.every(({ ok }) => ok) && notStarted.size === 0, results, notStarted };
  }

  /** Yields the offered values. If the reader stops early, the commands go on by themselves. */
  async *#read<T>(meeting: Meeting<T>, rolled: Promise<void>): AsyncGenerator<T, void, undefined> {
    try {
      yield* meeting.taken();
    } finally {
      if (!meeting.closed) {
        meeting.abandon();
        await this.detach();
      }
    }
    await rolled;
  }

  /** A meeting that hears of each new state; first, of all hosts that wait. */
  async #meetingWithStates(): Promise<Meeting<HostEvent>> {
    const { Meeting: MeetingOfEvents } = await import('./at-work.js');
    const meeting = new MeetingOfEvents<HostEvent>();
    const tell = (host: string, { begun: _begun, since: _since, ...status }: HostStatus) =>
      void meeting.offer({ event: 'host', host, runId: this.idOn(host), ...status });
    for (const [host, status] of this.#states.all) tell(host, status);
    this.#states.changed = tell;
    return meeting;
  }

  /** `follow` resolves with the run's result; undefined when it was only launched. */
  async #roll(follow: (run: Run) => Promise<Result | undefined>): Promise<void> {
    if (this.#begun) throw new UsageError('a fleet run is read once: as events, or as results, or awaited');
    this.#begun = true;
    const work = await import('./at-work.js');
    const dialling = (this.#dialling = new work.Dialling(this.#reach));
    if (this.#gathers) this.#shared = new work.SharedOutputs();
    const { stdin } = this.#runOptions;
    if (isReadOnce(stdin)) this.#stdin = new work.Broadcast(stdin, work.MAX_SHARED_STDIN);
    await this.#rollout.run(async (name) => await this.#onHost(name, dialling, follow));
    const why = this.#rollout.stopped ?? '';
    for (const name of this.#states.hostsIn('waiting')) this.#states.skip(name, why);
  }

  /** Resolves to false when the host counts as failed. */
  async #onHost(name: string, dialling: Dialling, follow: (run: Run) => Promise<Result | undefined>): Promise<boolean> {
    const states = this.#states;
    const { reachError, Turn } = await import('./at-work.js');
    const turn = new Turn(this.#runOptions.deadline);
    const options: RunOptions = {
      ...this.#runOptions,
      runId: this.idOn(name),
      ...(this.#stdin ? { stdin: this.#stdin } : {}),
    };
    if (this.#shared) options.sha256 = true;
    let host: Host | undefined;
    let run: Run;
    states.reach(name, 'connecting');
    try {
      host = await dialling.hostUnlessStopped(name, turn);
      if (!host) {
        states.skip(name, this.#rollout.stopped ?? '');
        return true;
      }
      run = this.#begin(host, { ...options, ...turn.runOptions() });
      if (this.#shared) run.share(this.#shared);
    } catch (error) {
      // Ends immediately, with the reason why its host was not reached.
      const { Run: UnreachedRun } = await import('../client/run/run.js');
      run = new UnreachedRun(name, prepareRun({ verb: 'exec', argv: ['unreached'] }, { ...options, stdin: 'none' }));
      run.giveUp(reachError(error as Error));
    }
    this.#active.set(name, run);
    for (const stream of this.#unread) run.stopReading(stream);
    run.attached.then(
      () => states.reach(name, 'queued'),
      () => undefined,
    );
    run.started.then(
      () => states.reach(name, 'running'),
      () => undefined,
    );
    try {
      const result = await follow(run);
      if (!result || (this.#left.has(name) && result.outcome === 'cancelled')) return true;
      states.end(name, result);
      return result.ok;
    } finally {
      this.#active.delete(name);
      await host?.close();
    }
  }
}
