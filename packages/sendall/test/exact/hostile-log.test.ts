/** Logs of hosts that answer anything: a verification ends, with a verdict or an error, and reads no file of its own side. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { auditVerify, connect, KnownHosts, openAgent, resolveHome, type Agent, type Home, type Host } from 'sendall';
import { loadIdentity, type Identity } from '../../dist/keys/identity.js';
import { logFolder } from '../../dist/log/layout.js';
import { removeHome } from '../remove-home.js';
import { asLocal, Relay } from './relay.js';

let folder: string;
let agent: Agent;
let identity: Identity;
const homeIn = (name: string): Home => resolveHome({ SENDALL_HOME: join(folder, name) });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-hostile-log-'));
  agent = await openAgent({ home: homeIn('agent'), keeperIdleExit: 200 });
  // The same as the agent's: the log is certified by it.
  identity = await loadIdentity(homeIn('agent'));
  await using host = await connect('local', { home: homeIn('agent') });
  for (let i = 0; i < 20; i++) await host.run(['true']);
});
afterAll(async () => {
  await agent.close();
  await removeHome(homeIn('agent').state);
  rmSync(folder, { recursive: true, force: true });
});

/** What the host answers in place of its agent, by what it was asked. */
let instead: { [what: string]: (answer: unknown, asked: { length: number }) => unknown };
let asked: string[];
beforeEach(() => {
  instead = {};
  asked = [];
});

async function hostileHost(as = identity): Promise<Host> {
  const relay = await Relay.overTls(homeIn('agent').agentSocket, as);
  const questions = new Map<number, { what: string; body: { length: number } }>();
  relay.fromCaller = (message, connection) => {
    if (message.type === 'ASK') {
      asked.push(message.what);
      questions.set(message.opId, { what: message.what, body: JSON.parse(message.body ?? '{}') as { length: number } });
    }
    return asLocal(message, connection);
  };
  relay.fromAgent = (message) => {
    if (message.type !== 'ANSWER') return message;
    const { what, body } = questions.get(message.opId)!;
    const change = instead[what];
    return change ? { ...message, body: JSON.stringify(change(JSON.parse(message.body ?? 'null'), body)) } : message;
  };
  const home = homeIn('caller');
  const name = `host-${relay.url.split(':').at(-1)}`;
  await KnownHosts.of(home).add({ name, url: relay.url, pin: as.fingerprint });
  const host = await connect(name, { home });
  onTestFinished(() => host.close());
  return host;
}

test('an honest host is verified, and it alone says what is in its log', async () => {
  const host = await hostileHost();
  // Of the caller's machine, which this folder would be.
  instead['log-head'] = (answer) => ({ ...(answer as object), folder: logFolder(homeIn('agent')) });
  expect(await auditVerify(host)).toMatchObject({ ok: true, problems: [] });
  expect(asked).toContain('log-part');
});

test('a log whose key another identity than that of the host has certified is not trusted, without a kept head too', async () => {
  const host = await hostileHost(await loadIdentity(homeIn('another'), { create: true }));
  expect(await auditVerify(host)).toMatchObject({ ok: false, problems: [{ index: 0, kind: 'signature' }] });
});

const files = (size: number) => [{ name: 'hashes', size }];
test.each<[string, string, (answer: unknown, asked: { length: number }) => unknown]>([
  ['files that are none', 'log-files', () => 'x'],
  ['no files', 'log-files', () => null],
  ['a file with another name', 'log-files', () => [{ name: '../x', size: 1 }]],
  ['a file without a size', 'log-files', () => [{ name: 'hashes' }]],
  ['a file of less than nothing', 'log-files', () => files(-1)],
  ['a file of part of a byte', 'log-files', () => files(0.5)],
  ['more hashes than there can be', 'log-files', () => files(Number.MAX_SAFE_INTEGER)],
  ['hashes that would fill the memory', 'log-files', () => files(2 ** 40)],
  ['no bytes at all', 'log-part', () => null],
  ['bytes that are no text', 'log-part', () => ({ base64: 7 })],
  [
    'more bytes than were asked for',
    'log-part',
    (_, { length }) => ({ base64: Buffer.alloc(length + 1).toString('base64') }),
  ],
])('%s are an error in words', async (_, what, answer) => {
  const host = await hostileHost();
  instead[what] = answer;
  await expect(auditVerify(host)).rejects.toMatchObject({ code: 'LOG' });
});

test.each<[string, string, (answer: unknown, asked: { length: number }) => unknown]>([
  ['a byte at a time', 'log-part', () => ({ base64: 'AA==' })],
  ['no bytes', 'log-part', () => ({ base64: '' })],
  ['other bytes', 'log-part', (_, { length }) => ({ base64: Buffer.alloc(length, '\n').toString('base64') })],
  ['no head', 'log-head', () => ({})],
  ['a head of another kind', 'log-head', () => ({ checkpoint: 7, certificate: [], folder: 9, isolation: {} })],
])('%s: the verdict is "not ok", after a bounded number of questions', async (_, what, answer) => {
  const host = await hostileHost();
  instead[what] = answer;
  const verdict = await auditVerify(host);
  expect(verdict.ok).toBe(false);
  expect(verdict.problems.length).toBeGreaterThan(0);
  expect(asked.length).toBeLessThan(1000);
});
