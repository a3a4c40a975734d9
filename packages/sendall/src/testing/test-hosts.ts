/**
 * Hosts for tests: agents in this process, on links in memory that can be broken on purpose, backed by one real keeper
 * that runs real commands.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agent } from '../agent/agent.js';
import { KeeperGate } from '../agent/gate.js';
import type { AgentOptions } from '../agent/options.js';
import { Host } from '../client/host.js';
import type { Inventory } from '../client/inventory.js';
import { Session, type Dialled, type SessionOptions } from '../client/session/session.js';
import { UnreachableError, UsageError } from '../errors.js';
import { Fleet } from '../fleet/fleet.js';
import { resolveHome, type Home } from '../home.js';
import { durationOption, type Duration } from '../text/duration.js';
import { Chance, checkFaults, DirectionFaults, type FaultPlan } from './network/faults.js';
import { greet, rememberedOf, type Remembered } from '../link/handshake.js';
import { Link } from '../link/link.js';
import { memoryPair, type MemoryPair } from './network/memory-pair.js';

/** Options for hosts in a test. */
export interface TestHostsOptions {
  /**
   * Faults of the links.
   * @default nothing
   */
  faults?: FaultPlan;
  /**
   * Milliseconds without a link before runs are given up as lost.
   * @default 30_000
   */
  giveUpAfter?: Duration;
  /**
   * Milliseconds of silence after which either side gives up a link.
   * @default 2000
   */
  pingDeadline?: Duration;
  /**
   * Milliseconds before the second attempt to restore a lost link; later pauses grow to ten times this.
   * @default 5
   */
  firstPause?: Duration;
  /** Limits of each agent; see AgentOptions. */
  agent?: Pick<AgentOptions, 'maxRunsPerLink' | 'maxQuestions' | 'readAhead' | 'handshakeTimeout'>;
}

const NAMES: Record<keyof TestHostsOptions, true> = {
  faults: true,
  giveUpAfter: true,
  pingDeadline: true,
  firstPause: true,
  agent: true,
};

/** Each host is a machine of its own. */
const NO_INVENTORY: Inventory = { list: () => [], get: () => undefined, at: () => undefined };

/** Milliseconds for commands to end when the fleet closes, before their keeper is killed. */
const FAREWELL = 10_000;

/**
 * Makes `n` hosts named test-1 to test-n. They share a keeper and a folder, which `close` removes; each has its own
 * principal, so `runs()` of one does not show those of another.
 * @throws UsageError for unknown options or faults.
 */
export async function testHosts(n: number, options: TestHostsOptions = {}): Promise<TestFleet> {
  if (!(Number.isSafeInteger(n) && n >= 1)) throw new UsageError(`testHosts: ${n} is not a number of hosts`);
  for (const name of Object.keys(options))
    if (!(name in NAMES)) throw new UsageError(`there is no option "${name}" of testHosts`);
  checkFaults(options.faults ?? {});
  const fleet = new TestFleet(options);
  try {
    await fleet.open(n);
  } catch (error) {
    await fleet.close();
    throw error;
  }
  return fleet;
}

/** Hosts in this process, and the means to break their links. */
export class TestFleet implements AsyncDisposable {
  readonly hosts: Host[] = [];
  /** The keeper's folders, until `close`. */
  readonly home: Home;
  readonly #options: TestHostsOptions;
  readonly #times: { readonly giveUpAfter: number; readonly pingDeadline: number; readonly firstPause: number };
  readonly #gate: KeeperGate;
  readonly #cables: Cable[] = [];
  readonly #agents: Agent[] = [];
  #closing: Promise<void> | undefined;

  /** @internal Use testHosts. */
  constructor(options: TestHostsOptions) {
    this.#options = options;
    this.#times = {
      giveUpAfter: durationOption('giveUpAfter', options.giveUpAfter) ?? 30_000,
      pingDeadline: durationOption('pingDeadline', options.pingDeadline) ?? 2000,
      firstPause: durationOption('firstPause', options.firstPause) ?? 5,
    };
    this.home = resolveHome({ SENDALL_HOME: mkdtempSync(join(tmpdir(), 'sendall-hosts-')) });
    this.#gate = new KeeperGate(this.home, { idleExitMs: 2000 });
  }

  /** @internal */
  async open(n: number): Promise<void> {
    await this.#gate.open();
    const { pingDeadline } = this.#times;
    const { agent: limits = {}, faults = {} } = this.#options;
    for (let i = 0; i < n; i++) {
      const name = `test-${i + 1}`;
      const agent = new Agent({ ...limits, home: this.home, name, pingDeadline }, this.#gate);
      this.#agents.push(agent);
      await agent.prepare();
      this.#cables.push(new Cable(agent, faults, name));
    }
    for (const cable of this.#cables) this.hosts.push(await this.#connect(cable));
  }

  /** Makes another connection to a host, as from another program: host 0 is test-1. */
  async connect(host: number): Promise<Host> {
    const cable = this.#cables[host];
    if (!cable) throw new UsageError(`there is no host ${host}: there are ${this.#cables.length}`);
    return await this.#connect(cable);
  }

  /** The keeper's process. */
  get keeperPid(): number | undefined {
    return this.#gate.pid;
  }

  /** All hosts as one fleet. Each of its runs makes links of its own. */
  get fleet(): Fleet {
    const places = new Map(this.#cables.map(({ name }, i) => [name, i]));
    return new Fleet(places.keys(), { inventory: NO_INVENTORY }, (name) => this.connect(places.get(name)!));
  }

  /** Bytes that were sent on the links so far. */
  get traffic(): { toHosts: number; toCallers: number } {
    const traffic = { toHosts: 0, toCallers: 0 };
    for (const cable of this.#cables) {
      traffic.toHosts += cable.traffic.toHosts;
      traffic.toCallers += cable.traffic.toCallers;
    }
    return traffic;
  }

  /** Links made so far, including the first ones. */
  get links(): number {
    return this.#cables.reduce((sum, { dials }) => sum + dials, 0);
  }

  /** Cuts the links of a host, or of all. */
  cut(host?: number): void {
    for (const cable of this.#some(host)) cable.cut();
  }

  /** Makes the links of a host, or of all, go silent without closing. */
  stall(host?: number): void {
    for (const cable of this.#some(host)) cable.stall();
  }

  /** Makes hosts unreachable, or reachable again. */
  unplug(unplugged: boolean, host?: number): void {
    for (const cable of this.#some(host)) cable.unplugged = unplugged;
    if (unplugged) this.cut(host);
  }

  /** Disconnects from every host, ends all commands and the keeper, and removes the folder. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    for (const cable of this.#cables) cable.close();
    try {
      const { pid } = await this.#gate.open();
      // A test may have stopped the process.
      process.kill(pid, 'SIGCONT');
      await this.#gate.ask((opId) => ({ type: 'ASK', alias: 0, opId, what: 'end-runs', body: 'the test is over' }));
      await this.#gate.ask((opId) => ({ type: 'ASK', alias: 0, opId, what: 'drain' }));
      await this.#gate.close();
      await gone(pid);
    } catch {
      // The keeper has ended already, as in tests of its death.
    }
    await Promise.all(this.#agents.map((agent) => agent.close()));
    rmSync(this.home.state, { recursive: true, force: true });
  }

  async #connect(cable: Cable): Promise<Host> {
    const { giveUpAfter, pingDeadline, firstPause } = this.#times;
    const options: SessionOptions = {
      giveUpAfter,
      pingInterval: pingDeadline / 3,
      pingDeadline,
      firstPause,
      longestPause: firstPause * 10,
    };
    const dial = (): Promise<Dialled> => cable.dial();
    // Faults must not keep a test from starting.
    return new Host(cable.name, new Session(await cable.firstDial(), dial, options));
  }

  #some(host: number | undefined): Cable[] {
    return host === undefined ? this.#cables : this.#cables.slice(host, host + 1);
  }
}

/** Waits until a process is gone; kills it if that takes too long. */
async function gone(pid: number): Promise<void> {
  const until = performance.now() + FAREWELL;
  for (;;) {
    try {
      process.kill(pid, performance.now() < until ? 0 : 'SIGKILL');
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The connection to one agent: makes links, and breaks them. */
class Cable {
  readonly name: string;
  unplugged = false;
  dials = 0;
  readonly traffic = { toHosts: 0, toCallers: 0 };
  readonly #agent: Agent;
  readonly #faults: FaultPlan;
  readonly #chance: Chance;
  #remembered: Remembered | undefined;
  readonly #pairs = new Set<MemoryPair>();

  constructor(agent: Agent, faults: FaultPlan, name: string) {
    this.#agent = agent;
    this.#faults = faults;
    this.name = name;
    this.#chance = new Chance(`${faults.seed ?? 1}/${name}/dials`);
  }

  /** Dials until it succeeds. */
  async firstDial(): Promise<Dialled> {
    for (let tries = 1; ; tries++)
      try {
        const dialled = await this.dial();
        await dialled.greeting;
        return dialled;
      } catch (error) {
        if (tries === 100) throw error;
      }
  }

  async dial(): Promise<Dialled> {
    const { unreachable = 0 } = this.#faults;
    if (this.unplugged || this.#chance.between(0, 999_999) < unreachable * 1_000_000)
      throw new UnreachableError(`${this.name} cannot be reached`);
    const pair = memoryPair(this.#nextFaults(), this.traffic);
    this.#pairs.add(pair);
    pair.caller.once('close', () => this.#pairs.delete(pair));
    this.#agent.adopt(new Link(pair.host), { kind: 'memory', principal: this.name });
    const link = new Link(pair.caller);
    const greeting = greet(link, { method: 'local', name: 'test', timeoutMs: 5000 }).then((greeted) => {
      this.#remembered = rememberedOf(greeted);
      return greeted;
    });
    return { link, remembered: this.#remembered, greeting };
  }

  cut(): void {
    for (const pair of this.#pairs) pair.cut();
  }

  stall(): void {
    for (const pair of this.#pairs) pair.stall();
  }

  close(): void {
    this.unplugged = true;
    this.cut();
  }

  #nextFaults(): { toHost: DirectionFaults; toCaller: DirectionFaults } | undefined {
    const number = ++this.dials;
    if (Object.keys(this.#faults).length === 0) return undefined;
    const direction = (which: string): DirectionFaults =>
      new DirectionFaults(this.#faults, `${this.name}/${number}/${which}`, number === 1);
    return { toHost: direction('to host'), toCaller: direction('to caller') };
  }
}
