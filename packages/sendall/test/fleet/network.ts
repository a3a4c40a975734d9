/** Machines with a network of their own: namespaces, and links between them that are slow, lose packets or are down. */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { within } from '../../../../test/support/waits.js';

const WIRE = fileURLToPath(new URL('../fixtures/slow-wire.py', import.meta.url));

/** Whether this user may have namespaces and links here. */
export const mayHaveNetworks =
  process.getuid?.() === 0 && existsSync('/dev/net/tun') && spawnSync('unshare', ['--net', 'true']).status === 0;

/** A network namespace. It ends with this process at the latest. */
export class Namespace {
  readonly #holder: ChildProcess;

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  static async open(): Promise<Namespace> {
    const holder = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
    holder.stdin.write('\n');
    await within(once(holder.stdout, 'data'), 'a network namespace');
    return new Namespace(holder);
  }

  get pid(): number {
    return this.#holder.pid!;
  }

  /** The words before a command line that is to run inside. */
  get words(): readonly string[] {
    return ['nsenter', `--net=/proc/${this.pid}/ns/net`];
  }

  /** Runs a command inside. */
  call(...words: readonly string[]): void {
    const [program, ...rest] = [...this.words, ...words];
    execFileSync(program!, rest, { stdio: ['ignore', 'ignore', 'inherit'] });
  }

  close(): void {
    this.#holder.stdin?.destroy();
  }
}

/** What a link does to its packets. Times in milliseconds. */
export interface Faults {
  readonly delay?: number;
  readonly jitter?: number;
  /** Packets lost of a hundred, each way. */
  readonly loss?: number;
}

/** One place in the middle, and hosts around it, each behind a link of its own. */
export class Star {
  readonly #near: Namespace;
  readonly #far = new Map<string, Namespace>();
  readonly #names: readonly string[];
  #wire!: ChildProcess;

  private constructor(near: Namespace, names: readonly string[]) {
    this.#near = near;
    this.#names = names;
  }

  static async open(hosts: Readonly<Record<string, Faults>>, seed: number): Promise<Star> {
    const star = new Star(await Namespace.open(), Object.keys(hosts));
    star.#near.call('ip', 'link', 'set', 'lo', 'up');
    const links = Object.values(hosts).map((faults, i) => ({
      near: `near${i}`,
      far: `far${i}`,
      delay: 0,
      jitter: 0,
      loss: 0,
      ...faults,
    }));
    const [program, ...rest] = [...star.words, 'python3', WIRE, String(seed), JSON.stringify(links)];
    star.#wire = spawn(program!, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
    await within(once(createInterface({ input: star.#wire.stdout! }), 'line'), 'the links');
    for (const [i, name] of star.#names.entries()) {
      const far = await Namespace.open();
      star.#far.set(name, far);
      star.#near.call('ip', 'link', 'set', `far${i}`, 'netns', String(far.pid));
      star.#near.call('ip', 'address', 'add', star.middleOf(name), 'peer', star.addressOf(name), 'dev', `near${i}`);
      far.call('ip', 'address', 'add', star.addressOf(name), 'peer', star.middleOf(name), 'dev', `far${i}`);
      far.call('ip', 'link', 'set', `far${i}`, 'up');
      star.set(name, 'up');
    }
    return star;
  }

  /** The words before a command line that is to run in the middle. */
  get words(): readonly string[] {
    return this.#near.words;
  }

  /** The words before a command line that is to run on a host. */
  wordsOn(host: string): readonly string[] {
    return this.#far.get(host)!.words;
  }

  addressOf(host: string): string {
    return `10.99.${this.#names.indexOf(host)}.2`;
  }

  /** The middle's address on the link to a host. */
  middleOf(host: string): string {
    return `10.99.${this.#names.indexOf(host)}.1`;
  }

  /** Takes the link to a host down, or up again. */
  set(host: string, state: 'up' | 'down'): void {
    this.#near.call('ip', 'link', 'set', `near${this.#names.indexOf(host)}`, state);
  }

  /** Ends the links. Resolves to the packets that each host's link has carried and lost. */
  async cut(): Promise<Record<string, { carried: number; lost: number }>> {
    const counts = text(this.#wire.stdout!);
    this.#wire.stdin!.end();
    const all = JSON.parse(await within(counts, 'the end of the links')) as Record<string, [number, number]>;
    return Object.fromEntries(
      this.#names.map((name, i) => [name, { carried: all[`near${i}`]![0], lost: all[`near${i}`]![1] }]),
    );
  }

  /** Ends all of it. */
  close(): void {
    this.#wire.stdin!.end();
    for (const namespace of [this.#near, ...this.#far.values()]) namespace.close();
  }
}
