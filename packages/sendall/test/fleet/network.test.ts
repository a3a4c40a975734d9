/**
 * A fleet in networks of its own, directly and through a broker: over links that delay, lose and reorder packets and that
 * go down and up, each command runs once and each byte arrives once.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { natsHostOf } from '../../dist/text/nats-address.js';
import { patience, until, within } from '../../../../test/support/waits.js';
import { SENDALL } from '../cli/support.js';
import type { Said, Work } from '../dist/fleet-caller.js';
import { removeHome } from '../remove-home.js';
import { AgentProcess } from './agent-process.js';
import { mayHaveNetworks, Star, type Faults } from './network.js';

const CALLER = fileURLToPath(new URL('../dist/fleet-caller.js', import.meta.url));
const SEED = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
/** Milliseconds for whatever many retransmissions may delay. */
const MINUTES = 120_000;

/** Those that begin with n are behind the broker. */
const links: Readonly<Record<string, Faults>> = {
  slow: { delay: 60 },
  lossy: { delay: 5, jitter: 10, loss: 10 },
  flapping: {},
  late: {},
  nlossy: { delay: 5, jitter: 10, loss: 10 },
  nflapping: {},
};
const all = Object.keys(links);
const each = (hosts: readonly string[], value: unknown) => Object.fromEntries(hosts.map((host) => [host, value]));

/** A command that leaves a line for each time it runs, waits until it may go on, and writes many lines. */
const SCRIPT = `
echo "$$" >> "$DIR/$LANG.ran"
until test -e "$DIR/go"; do sleep 0.05; done
i=0
while test $i -lt 20000; do i=$((i + 1)); echo "$i on $LANG"; done
: > "$DIR/$LANG.wrote"
`;
const outputOf = (host: string) => Array.from({ length: 20_000 }, (_, i) => `${i + 1} on ${host}\n`).join('');
const digestOf = (text: string) => createHash('sha256').update(text).digest('hex');

/** A caller in the middle of the network. */
class Caller {
  readonly said: Said[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(star: Star, home: string, work: Work) {
    const [program, ...words] = [...star.words, process.execPath, CALLER, JSON.stringify(work)];
    const env = { ...process.env, SENDALL_HOME: home };
    this.#child = spawn(program!, words, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    this.#ended = once(this.#child, 'close');
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.said.push(JSON.parse(line) as Said));
  }

  /** How often it has begun to dial a host. */
  dials(host: string): number {
    return this.said.filter((said) => said.event === 'dial' && said.state === 'dialling' && said.host === host).length;
  }

  has(event: Said['event'], host: string): boolean {
    return this.said.some((said) => said.event === event && said.host === host);
  }

  /** Resolves when it knows that the commands of these hosts run: until then, it begins them again on the next link. */
  async started(hosts: readonly string[]): Promise<void> {
    const runs = (on: string) =>
      this.said.some((said) => said.event === 'host' && said.host === on && said.state === 'running');
    await until(
      () => hosts.every(runs),
      () => `the begin on ${hosts.filter((host) => !runs(host)).join(', ')}`,
      MINUTES,
    );
  }

  /** Each host's end, once all have ended: there is one. */
  async ends() {
    const far = () => JSON.stringify(this.said.filter(({ event }) => event !== 'dial').slice(-20));
    await within(this.#ended, () => `the end of all hosts: ${far()}`, MINUTES);
    const ends = this.said.flatMap((said) => (said.event === 'end' ? [said] : []));
    expect(new Set(ends.map(({ host }) => host)).size).toBe(ends.length);
    return new Map(ends.map((end) => [end.host, end]));
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }
}

describe.runIf(mayHaveNetworks)(`a fleet in networks of its own (TEST_SEED=${SEED})`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-network-'));
  const home = join(folder, 'caller');
  const agents = new Map<string, AgentProcess>();
  const callers: Caller[] = [];
  let star: Star;
  let broker: ChildProcess;

  /** A command line in the middle of the network. */
  const call = (...words: readonly string[]) => {
    const [program, ...rest] = [...star.words, process.execPath, SENDALL, ...words];
    const env = { ...process.env, SENDALL_HOME: home };
    return spawnSync(program!, rest, { env, encoding: 'utf8', timeout: patience(20_000) });
  };

  function begin(targets: readonly string[], options: Work['options'], more: Partial<Work> = {}): Caller {
    const caller = new Caller(star, home, {
      targets,
      options: { pingInterval: 300, pingDeadline: 5000, longestPause: 500, ...options },
      ...more,
    });
    callers.push(caller);
    return caller;
  }

  /** What a command leaves behind, by host, in a folder of its own. */
  function site(name: string) {
    const dir = join(folder, name);
    mkdirSync(dir);
    const times = (host: string) =>
      existsSync(join(dir, `${host}.ran`)) ? readFileSync(join(dir, `${host}.ran`), 'utf8').split('\n').length - 1 : 0;
    const wrote = async (hosts: readonly string[]) =>
      await until(
        () => hosts.every((host) => existsSync(join(dir, `${host}.wrote`))),
        () => `the output of ${hosts.filter((host) => !existsSync(join(dir, `${host}.wrote`))).join(', ')}`,
        MINUTES,
      );
    return {
      work: { script: SCRIPT, run: { env: { DIR: dir }, startWithin: '10m' } } satisfies Partial<Work>,
      wrote,
      go: () => writeFileSync(join(dir, 'go'), ''),
      ran: () => Object.fromEntries(all.map((host) => [host, times(host)])),
    };
  }

  beforeAll(async () => {
    star = await Star.open(links, SEED);
    const [program, ...words] = [...star.words, 'nats-server', '-a', '0.0.0.0', '-p', '4222'];
    broker = spawn(program!, words, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    broker.stderr!.setEncoding('utf8').on('data', (piece: string) => (said += piece));
    await until(
      () => said.includes('Server is ready'),
      () => `the broker: ${said}`,
    );
    await Promise.all(
      all.map(async (host) => {
        const agent = new AgentProcess(folder, host, star.wordsOn(host));
        agents.set(host, agent);
        const listen = host.startsWith('n')
          ? `nats://${star.middleOf(host)}:4222`
          : `tls://${star.addressOf(host)}:7433`;
        await agent.start(listen);
      }),
    );
    expect(call('engine', 'nats://127.0.0.1:4222').status).toBe(0);
    for (const [host, { url, fingerprint, code }] of agents)
      await until(
        () => call('pair', url || natsHostOf(fingerprint), '--code', code, '--name', host).status === 0,
        `the pairing with ${host}`,
        MINUTES,
      );
  }, 600_000);

  afterAll(async () => {
    for (const caller of callers) caller.kill();
    await Promise.all([...agents.values()].map((agent) => agent.remove()));
    broker.kill();
    star.close();
    await removeHome(folder, 0);
  }, 600_000);

  test(
    'that is slow, loses packets, goes down or comes late: each command runs once, each byte arrives once',
    { timeout: 600_000 },
    async () => {
      const { work, wrote, go, ran } = site('day');
      star.set('late', 'down');
      const caller = begin(all, { retryFor: '10m' }, work);
      const others = all.filter((host) => host !== 'late');
      await caller.started(others);
      const flapping = ['flapping', 'nflapping'];
      const before = new Map(flapping.map((host) => [host, caller.dials(host)]));
      for (const host of flapping) star.set(host, 'down');
      go();
      // They write and end while their links are down, and the caller tries to reach them.
      await wrote(others);
      await until(() => flapping.every((host) => caller.dials(host) > before.get(host)!), 'the loss of links', MINUTES);
      for (const host of [...flapping, 'late']) star.set(host, 'up');
      const ends = await caller.ends();
      for (const host of all) {
        const output = outputOf(host);
        expect([host, ends.get(host)]).toEqual([
          host,
          expect.objectContaining({ outcome: 'ok', bytes: output.length, sha256: digestOf(output) }),
        ]);
      }
      expect(ran()).toEqual(each(all, 1));
      for (const host of flapping) expect([host, caller.has('resumed', host)]).toEqual([host, true]);
    },
  );

  test(
    'whose links stay down: hosts are unreachable or lost, and later callers get every byte',
    { timeout: 600_000 },
    async () => {
      const { work, go, ran } = site('away');
      const lost = ['flapping', 'nflapping'];
      const caller = begin(lost, { retryFor: '10m', giveUpAfter: 3000 }, work);
      await caller.started(lost);
      for (const host of [...lost, 'late']) star.set(host, 'down');
      const outcomes = async (of: Caller) =>
        Object.fromEntries([...(await of.ends())].map(([host, { outcome }]) => [host, outcome]));
      expect(await outcomes(begin(['late'], {}, work))).toEqual({ late: 'unreachable' });
      expect(await outcomes(caller)).toEqual(each(lost, 'lost'));
      go();
      for (const host of [...lost, 'late']) star.set(host, 'up');
      const ids = await caller.ends();
      const attach = lost.map((target) => ({ target, runId: ids.get(target)!.runId }));
      const joined = await begin(lost, { retryFor: '10m' }, { attach }).ends();
      for (const host of lost)
        expect([host, joined.get(host)]).toEqual([
          host,
          expect.objectContaining({ outcome: 'ok', sha256: digestOf(outputOf(host)) }),
        ]);
      expect(ran()).toEqual({ ...each(all, 0), ...each(lost, 1) });
    },
  );

  test('whose links have lost packets, or none, as they should', async () => {
    const counts = await star.cut();
    for (const host of ['lossy', 'nlossy']) expect(counts[host]!.lost).toBeGreaterThan(counts[host]!.carried / 50);
    for (const host of ['slow', 'flapping', 'nflapping']) expect(counts[host]!.lost).toBe(0);
  });
});
