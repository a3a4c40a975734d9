/** The agent's part of the log: what it notes, what it signs, and to whom it gives the log. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  auditVerify,
  connect,
  KnownHosts,
  openAgent,
  pair,
  resolveHome,
  type Agent,
  type Home,
  type Host,
} from 'sendall';
import { Callers } from 'sendall/agent';
import { KeeperGate } from '../../dist/agent/gate.js';
import { LogDesk } from '../../dist/agent/log/log-desk.js';
import { Notes } from '../../dist/agent/log/notes.js';
import { loadIdentity } from '../../dist/keys/identity.js';
import { openCertificate, type Certificate } from '../../dist/log/certificate.js';
import { openCheckpoint, signCheckpoint } from '../../dist/log/checkpoint.js';
import { hashBase64, leafHash } from '../../dist/log/hashes.js';
import { logFolder } from '../../dist/log/layout.js';
import { HAS_LOG } from '../../dist/protocol/messages.js';
import { rootTest } from '../../../../test/support/root.js';
import { removeHome } from '../remove-home.js';

let folder: string;
let agent: Agent;
let home: Home;
const homeIn = (name: string): Home => resolveHome({ SENDALL_HOME: join(folder, name) });

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'agent-log-'));
  home = homeIn('agent');
  agent = await openAgent({ home, listen: ['tls://127.0.0.1:0'], keeperIdleExit: 200 });
});
afterEach(async () => {
  await agent.close();
  await removeHome(home.state);
  rmSync(folder, { recursive: true, force: true });
});

interface Head {
  readonly size: number;
  readonly root: string;
  readonly checkpoint: string;
  readonly certificate: Certificate;
  readonly isolation: string;
}
type Line = Record<string, unknown>;

const url = (): string => agent.listening.find((each) => each.startsWith('tls:'))!;
const headOf = async (host: Host): Promise<Head> => await host.ask<Head>('log-head');
async function linesOf(host: Host): Promise<Line[]> {
  const { lines } = await host.ask<{ lines: string[] }>('log-lines', { from: 0 });
  return lines.map((line) => JSON.parse(line) as Line);
}

test('it notes its start, who pairs and who is removed, and those whom it turns away, folded', async () => {
  const caller = homeIn('caller');
  await pair(caller, url(), { code: agent.issueCode().code, name: 'web1' });
  const pin = KnownHosts.of(caller).get('web1')!.pin;
  const stranger = homeIn('stranger');
  await KnownHosts.of(stranger).add({ name: 'web1', url: url(), pin: pin! });
  for (let i = 0; i < 5; i++)
    await expect(connect('web1', { home: stranger })).rejects.toMatchObject({ code: 'REFUSED' });
  const { code } = agent.issueCode();
  const wrong = `${code.slice(0, -1)}${code.endsWith('A') ? 'B' : 'A'}`;
  await expect(pair(homeIn('guesser'), url(), { code: wrong, name: 'x' })).rejects.toMatchObject({ code: 'REFUSED' });
  await using host = await connect('local', { home });
  const [known] = new Callers(home).list();
  await host.ask('remove-caller', { fingerprint: known!.fingerprint });
  const lines = await linesOf(host);
  const notes = lines.filter(({ kind }) => kind === 'note');
  expect(notes.map(({ what }) => what)).toEqual(['agent started', 'pair', 'turned away', 'pairing failed', 'unpair']);
  expect(notes[1]).toMatchObject({
    caller: known!.fingerprint,
    principal: 'owner',
    roles: ['owner'],
    source: '127.0.0.1',
  });
  expect(notes[4]).toMatchObject({ caller: known!.fingerprint });
  expect(JSON.stringify(lines)).not.toContain(code);
});

test('strangers from many addresses neither fill the log nor hide what a principal is refused', () => {
  const told: { kind: string; body: string }[] = [];
  const tell = ({ kind, body }: { kind: string; body: string }) => void told.push({ kind, body });
  const notes = new Notes({ pid: 1, features: [HAS_LOG], tell } as unknown as KeeperGate);
  for (let i = 0; i < 5000; i++)
    notes.turnedAway(`away 10.0.${i >> 8}.${i & 255}`, { source: `10.0.${i >> 8}.${i & 255}` });
  notes.refused({ principal: 'bob', code: 'policy' });
  notes.close();
  expect(told.filter(({ kind }) => kind === 'note').length).toBeLessThan(50);
  expect(told.filter(({ kind }) => kind === 'refuse').map(({ body }) => body)).toEqual([
    JSON.stringify({ principal: 'bob', code: 'policy' }),
  ]);
  expect(told.at(-1)!.body).toMatch(/"more events","count":4968,/);
});

test('it signs heads that a certificate of its identity stands for, also for callers on other machines', async () => {
  const caller = homeIn('caller');
  await pair(caller, url(), { code: agent.issueCode().code, name: 'web1' });
  await using host = await connect('web1', { home: caller });
  const result = await host.run(['true'], { syncLog: true });
  const head = await headOf(host);
  expect(head).not.toHaveProperty('folder');
  const { key, fingerprint } = openCertificate(head.certificate);
  expect(fingerprint).toBe(agent.fingerprint);
  const { size, root } = openCheckpoint(head.checkpoint, key);
  expect([size, hashBase64(root)]).toEqual([head.size, head.root]);
  const { log } = result;
  expect(log!.size).toBe(log!.index + 1);
  const pin = agent.fingerprint;
  const verdict = await auditVerify(host, [{ ...log!, pin }]);
  expect(verdict).toMatchObject({ ok: true, size, root: head.root, checked: size, problems: [] });
  expect(verdict.against).toEqual([{ pin, size: log!.size, consistent: true }]);
  expect(verdict.isolation).toBe(process.getuid?.() === 0 ? 'root' : 'none');
  // The same from the files of the host itself, and a head of another log.
  expect(await auditVerify(logFolder(home), [log!])).toMatchObject({ ok: true });
  const other = { size: 2, head: Buffer.alloc(32).toString('base64') };
  expect((await auditVerify(host, [other])).problems).toEqual([{ index: 2, kind: 'fork' }]);
  const stranger = { ...log!, pin: `SHA256:${'A'.repeat(43)}` };
  expect((await auditVerify(host, [stranger])).problems).toEqual([{ index: 0, kind: 'signature' }]);
});

test('it signs no head that does not continue the last one, and says so', async () => {
  await using host = await connect('local', { home });
  await host.run(['true']);
  const first = await headOf(host);
  expect((await headOf(host)).checkpoint).toBe(first.checkpoint);
  await host.run(['true']);
  const second = await headOf(host);
  expect((await agent.status).log).toEqual({ records: second.size, held: 0, problem: undefined });
  expect(second.size).toBeGreaterThan(first.size);
  expect(readFileSync(join(logFolder(home), 'checkpoint'), 'utf8')).toBe(second.checkpoint);
  // Signed for another history: one with more records, and one with as many others.
  const { origin } = openCheckpoint(second.checkpoint, openCertificate(second.certificate).key);
  const pem = readFileSync(join(logFolder(home), 'key.pem'), 'utf8');
  for (const size of [second.size + 1000, second.size]) {
    const signed = signCheckpoint({ origin, size, root: leafHash(Buffer.from('another')) }, pem);
    writeFileSync(join(logFolder(home), 'checkpoint'), signed);
    await expect(headOf(host)).rejects.toThrow('it was cut or rewritten, and is not signed any more');
    expect((await agent.status).log!.problem).toContain('it was cut or rewritten');
    expect(readFileSync(join(logFolder(home), 'checkpoint'), 'utf8')).toBe(signed);
  }
});

test('a newer head that another agent signs meanwhile is no sign of a log that was cut', async () => {
  await using host = await connect('local', { home });
  // As an agent that comes has it, while the one before it signs its last head.
  const gate = new KeeperGate(home);
  let newer: Head | undefined;
  const overtaken = {
    async ask(make: Parameters<KeeperGate['ask']>[0]) {
      const answer = await gate.ask(make);
      if (!newer) {
        await host.run(['true']);
        newer = await headOf(host);
      }
      return answer;
    },
  } as KeeperGate;
  const desk = new LogDesk(home, await loadIdentity(home), overtaken);
  expect((await desk.head()).size).toBe(newer!.size);
  expect(desk.problem).toBeUndefined();
  await gate.close();
});

test('it makes a damaged certificate anew, and says in words what is wrong with a damaged key', async () => {
  await using host = await connect('local', { home });
  const first = await headOf(host);
  for (const text of ['{', 'null', '7', '']) {
    writeFileSync(join(logFolder(home), 'certificate.json'), text);
    expect(openCertificate((await headOf(host)).certificate).key.text).toBe(first.certificate.key);
  }
  writeFileSync(join(logFolder(home), 'key.pem'), 'x');
  await expect(headOf(host)).rejects.toThrow(/key\.pem is no private key: put it back from a copy/);
});

test('its questions about the log are checked: no other file is read, and no wrong number taken', async () => {
  await using host = await connect('local', { home });
  for (const [what, body] of [
    ['log-part', { name: 'key.pem', at: 0, length: 100 }],
    ['log-part', { name: '../identity.pem', at: 0, length: 100 }],
    ['log-part', { name: 'hashes', at: -1, length: 100 }],
    ['log-lines', { run: '../x' }],
    ['log-lines', { from: 'x' }],
    ['log-proof', { before: 3, size: 1e9 }],
    ['log-anything', {}],
  ] as const)
    await expect(host.ask(what, body)).rejects.toMatchObject({ code: 'REFUSED' });
  const { size } = await headOf(host);
  expect(await host.ask('log-proof', { before: 1, size })).toEqual(expect.any(Array));
});

rootTest('only owners read the log; what others are refused is in it', async () => {
  const caller = homeIn('caller');
  const code = agent.issueCode({ principal: 'bob', roles: ['ops'] }).code;
  await pair(caller, url(), { code, name: 'web1' });
  await using bob = await connect('web1', { home: caller });
  for (const what of ['log-head', 'log-lines', 'log-files', 'log-part'])
    await expect(bob.ask(what, { from: 0, name: 'hashes', at: 0, length: 9 })).rejects.toMatchObject({
      code: 'REFUSED',
    });
  await expect(bob.run(['true'])).rejects.toMatchObject({ code: 'REFUSED' });
  await expect(bob.run(['true'])).rejects.toMatchObject({ code: 'REFUSED' });
  await using host = await connect('local', { home });
  const refused = (await linesOf(host)).filter(({ kind }) => kind === 'refuse');
  expect(refused[0]).toMatchObject({ principal: 'bob', code: 'policy', source: '127.0.0.1' });
  expect(refused).toHaveLength(1);
});
