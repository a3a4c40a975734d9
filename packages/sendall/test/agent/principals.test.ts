/**
 * What all links of one principal may have of an agent: over TLS, with a policy, and with limits low enough to be
 * reached. One that has too much is told which limit it is; owners and other principals notice nothing.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { connect, KnownHosts, openAgent, pair, resolveHome, type Agent, type Home, type Host, type Run } from 'sendall';
import { loadIdentity } from '../../dist/keys/identity.js';
import { dial } from '../../dist/link/dial.js';
import { greet } from '../../dist/link/handshake.js';
import type { Link } from '../../dist/link/link.js';
import type { Message, MessageNamed } from '../../dist/protocol/messages.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { until } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';

const POLICY = `version: 1
rules:
  - {id: cat, who: ['role:deploy'], verbs: [exec], program: /usr/bin/cat, run-as: bin, stdin: yes}
  - {id: ask, who: ['role:deploy'], verbs: [list, agent]}
`;
const LIMITS = { maxLinksPerPrincipal: 3, maxAttachmentsPerPrincipal: 4, maxQuestionsPerPrincipal: 2 };

const isRoot = process.getuid?.() === 0;

let folder: string;
let agent: Agent;
let url: string;
const homes = new Map<string, Home>();
const homeIn = (name: string): Home => resolveHome({ SENDALL_HOME: join(folder, name) });

beforeAll(async () => {
  if (!isRoot) return;
  folder = mkdtempSync(join(tmpdir(), 'sendall-principals-'));
  const home = homeIn('host');
  mkdirSync(home.config, { mode: 0o700 });
  writeFileSync(home.policyFile, POLICY, { mode: 0o600 });
  agent = await openAgent({ home, listen: ['tls://127.0.0.1:0'], keeperIdleExit: 200, ...LIMITS });
  url = agent.listening.find((each) => each.startsWith('tls:'))!;
  for (const name of ['owner', 'alice', 'bob']) {
    const rights = name === 'owner' ? {} : { principal: name, roles: ['deploy'] };
    await pair(homeIn(name), url, { code: agent.issueCode(rights).code, name: 'host' });
    homes.set(name, homeIn(name));
  }
});
afterAll(async () => {
  if (!isRoot) return;
  await agent.close();
  await removeHome(homeIn('host').state);
  rmSync(folder, { recursive: true, force: true });
});

/** A link of its own. */
async function hostOf(name: string): Promise<Host> {
  const host = await connect('host', { home: homes.get(name)! });
  onTestFinished(async () => await host.close());
  return host;
}

const refusalOf = async (promise: PromiseLike<unknown>): Promise<string> =>
  await promise.then(
    () => 'it was let in',
    (error: Error) => error.message,
  );

/** No link of the callers is left from the test before. */
const quiet = async (): Promise<unknown> => await until(async () => (await agent.status).links === 0, 'no links');

rootDescribe('a principal that is no owner', () => {
  test('has so many links: one more is told the limit, and comes in when another has gone', async () => {
    await quiet();
    const links = [await hostOf('alice'), await hostOf('alice'), await hostOf('alice')];
    expect(await refusalOf(hostOf('alice'))).toBe(
      'alice has 3 links to this agent already (maxLinksPerPrincipal): close some of them',
    );
    for (let i = 0; i < 4; i++) await hostOf('owner');
    await hostOf('bob');
    await links[0]!.close();
    await until(async () => (await refusalOf(hostOf('alice'))) === 'it was let in', 'a place');
    expect((await links[1]!.run(['cat'], { stdin: 'undisturbed' })).stdout).toBe('undisturbed');
  });

  test('holds so many runs on all of its links: one more is told the limit, and starts when another has ended', async () => {
    await quiet();
    /** Runs that wait for their input. */
    const hold = async (...hosts: readonly Host[]): Promise<{ runs: Run[] }> => {
      const runs = hosts.map((host) => host.run(['cat'], { stdin: 'pipe' }));
      for (const run of runs) await run.started;
      return { runs };
    };
    const [first, second] = [await hostOf('alice'), await hostOf('alice')];
    const { runs } = await hold(first, second, first, second);
    const refused = await first.run(['cat'], { stdin: 'x', reject: false });
    expect(refused).toMatchObject({ outcome: 'refused', refusal: 'busy' });
    expect(refused.reason).toContain('alice holds 4 runs already (maxAttachmentsPerPrincipal): wait for some to end');
    // Nor may she attach once more to one of them.
    const attached = await refusalOf(second.attach(runs[0]!.runId, { mode: 'observe' }));
    expect(attached).toContain('(maxAttachmentsPerPrincipal)');
    for (const name of ['owner', 'bob']) {
      const host = await hostOf(name);
      const { runs: others } = await hold(...Array.from({ length: name === 'owner' ? 6 : 0 }, () => host));
      expect((await host.run(['cat'], { stdin: name })).stdout).toBe(name);
      for (const run of others) run.stdin.end();
      await Promise.all(others);
    }
    runs[0]!.stdin.end();
    await runs[0];
    await until(async () => (await first.run(['cat'], { stdin: 'x', reject: false })).ok, 'a place');
    for (const run of runs) run.stdin.end();
    await Promise.all(runs);
  });

  test('has so many questions open on all of its links: one more is answered with the limit', async () => {
    await quiet();
    const heard = new Map<Link, Message[]>();
    const linkOf = async (name: string): Promise<Link> => {
      const home = homes.get(name)!;
      const link = await dial(url, { pin: KnownHosts.of(home).get('host')!.pin, identity: () => loadIdentity(home) });
      onTestFinished(() => link.destroy());
      await greet(link, { method: 'pin', name, timeoutMs: 30_000 });
      const messages: Message[] = [];
      heard.set(link, messages);
      link.handOver({ message: (message) => void messages.push(message), closed: () => undefined });
      return link;
    };
    const ask = (link: Link, opId: number): void =>
      link.send({ type: 'ASK', alias: 0, opId, what: 'status', body: undefined });
    const answersTo = (link: Link) =>
      heard.get(link)!.filter((message): message is MessageNamed<'ANSWER'> => message.type === 'ANSWER');

    const [first, second] = [await linkOf('alice'), await linkOf('alice')];
    const others = [await linkOf('bob'), await linkOf('owner')];
    // While it stands still, no question has an answer.
    const { keeperPid } = await agent.status;
    process.kill(keeperPid!, 'SIGSTOP');
    try {
      ask(first, 1);
      ask(second, 1);
      // The agent reads in order: it has both questions when it has answered both pings.
      for (const link of [first, second]) link.ping();
      for (const link of [first, second]) await until(() => link.rttMs !== undefined, 'the questions to be read');
      for (const link of [first, second]) {
        ask(link, 2);
        const refused = await until(() => answersTo(link)[0], 'the refusal');
        expect(refused).toMatchObject({
          opId: 2,
          error: 'alice has too many questions open already (maxQuestionsPerPrincipal)',
        });
      }
      ask(others[0]!, 1);
      for (let opId = 1; opId <= 9; opId++) ask(others[1]!, opId);
    } finally {
      process.kill(keeperPid!, 'SIGCONT');
    }
    for (const link of heard.keys()) await until(() => answersTo(link).some(({ opId }) => opId === 1), 'an answer');
    for (const link of others) for (const { error } of answersTo(link)) expect(error).toBeUndefined();
    await until(() => answersTo(others[1]!).length === 9, "all of the owner's answers");
    ask(first, 3);
    const third = await until(() => answersTo(first).find(({ opId }) => opId === 3), 'an answer again');
    expect(third!.error).toBeUndefined();
  });
});
