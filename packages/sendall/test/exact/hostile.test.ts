import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, openAgent, resolveHome, type Agent, type Home, type Host } from 'sendall';
import { encodeData, encodeSpec } from '../../dist/protocol/codec.js';
import { newRunId } from '../../dist/protocol/run-id.js';
import { removeHome } from '../remove-home.js';
import { Rogue } from './rogue.js';
import { fleetOf } from './support.js';

let home: Home;
let agent: Agent;
let host: Host;
beforeAll(async () => {
  home = resolveHome({ SENDALL_HOME: mkdtempSync(join(tmpdir(), 'sendall-hostile-')) });
  agent = await openAgent({ home, keeperIdleExit: 200 });
  host = await connect('local', { home });
});
afterAll(async () => {
  // Attackers' runs would wait a day for input.
  await host.ask('stop', { runs: true });
  await host.close();
  await agent.close();
  await removeHome(home.state);
});

const data = (alias: number, stream: number, offset: number, bytes: Uint8Array): Buffer =>
  encodeData(alias, stream, 0, offset, bytes);

describe('before authentication, a link ends with a clear error when it sends', () => {
  test.each([
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), /HTTP|FRAME_TOO_LARGE|above|more than/i],
    ['a frame that announces 4 GiB', Buffer.from('ffffffff00', 'hex'), /4294967295/],
    ['an unknown type', Buffer.from('00000008ee00000000000000', 'hex'), /unknown frame type 0xee/],
    ['reserved bits', Buffer.from('000000080100000100000000', 'hex'), /reserved/],
    ['a frame without a header', Buffer.from('0000000101', 'hex'), /shorter than its header/],
    ['a run', Buffer.from('000000081600000000000001', 'hex'), /before AUTH_OK/],
  ])('%s', async (_what, bytes, message) => {
    const rogue = await Rogue.connect(home.agentSocket);
    rogue.raw(bytes);
    expect(await rogue.lastWords()).toMatch(message);
  });
});

describe('an authenticated caller loses its link, and nothing else, when it sends', () => {
  let bystander: ReturnType<Host['run']>;
  beforeAll(async () => {
    bystander = host.run(['cat'], { stdin: 'pipe' });
    await bystander.started;
  });
  afterAll(async () => {
    bystander.stdin.end('undisturbed');
    expect((await bystander).stdout).toBe('undisturbed');
    expect(host.resumes).toBe(0);
  });

  test.each<[string, (rogue: Rogue) => void, RegExp]>([
    ['stdin with a hole', (rogue) => rogue.frame(data(1, 0, 5, Buffer.from('x'))), /from 5 came where 0 is next/],
    [
      'an end that contradicts',
      (rogue) => {
        rogue.frame(data(1, 0, 0, Buffer.from('abc')));
        rogue.send({ type: 'EOS', alias: 1, stream: 0, final: 2 });
      },
      /ends at 2, but 3 bytes/,
    ],
    [
      'two different ends',
      (rogue) => {
        rogue.send({ type: 'EOS', alias: 1, stream: 0, final: 0 });
        rogue.send({ type: 'EOS', alias: 1, stream: 0, final: 7 });
      },
      /ended at 0 and again at 7/,
    ],
    [
      'stdin behind its end',
      (rogue) => {
        rogue.send({ type: 'EOS', alias: 1, stream: 0, final: 0 });
        rogue.frame(data(1, 0, 0, Buffer.from('x')));
      },
      /after its end/,
    ],
    ['bytes of stdout', (rogue) => rogue.frame(data(1, 1, 0, Buffer.from('x'))), /only stdin goes out/],
    ['what only hosts say', (rogue) => rogue.send({ type: 'TREE_END', alias: 1, survivors: [] }), /not for callers/],
    ['an alias again', (rogue) => rogue.open(1, ['true']), /not above 1/],
    [
      'a run that it did not open',
      (rogue) => rogue.send({ type: 'ACK', alias: 9, stream: 1, durable: 1 }),
      /not opened/,
    ],
    [
      'an impossible offset',
      (rogue) => {
        const frame = data(1, 0, 0, Buffer.from('x'));
        frame.fill(0xff, 15, 23);
        rogue.frame(frame);
      },
      /above 2\^53/,
    ],
    [
      'a name of a hold that the agent would have to remember',
      (rogue) => rogue.attach(2, { holder: Buffer.alloc(1000) }),
      /holder of 1000 bytes/,
    ],
    [
      'more positions than there are streams',
      (rogue) => rogue.attach(2, { from: Array.from({ length: 1000 }, (_, stream) => ({ stream, limit: 0 })) }),
      /1000 positions/,
    ],
    ['an OPEN with a principal', (rogue) => rogue.open(2, ['true'], false, { principal: 'root' }), /OPEN.principal is/],
    ['an OPEN with a link', (rogue) => rogue.open(2, ['true'], false, { link: 1 }), /OPEN.link is/],
    ['an OPEN with a caller', (rogue) => rogue.open(2, ['true'], false, { caller: 'local' }), /OPEN.caller is/],
    [
      'an OPEN with a grant',
      (rogue) => rogue.open(2, ['true'], false, { grant: { rule: 'mine', policyRev: 1, runAs: 'root' } }),
      /OPEN.grant is not for callers to set/,
    ],
    ['an ATTACH with a principal', (rogue) => rogue.attach(2, { principal: 'root' }), /ATTACH.principal is/],
    [
      'a LIST with a principal',
      (rogue) => rogue.send({ type: 'LIST', alias: 0, opId: 1, all: true, principal: 'root' }),
      /LIST.principal is/,
    ],
    [
      'a FORGET with a principal',
      (rogue) => rogue.send({ type: 'FORGET', alias: 0, opId: 1, runId: newRunId(), principal: 'root' }),
      /FORGET.principal is/,
    ],
    [
      'a note for the log',
      (rogue) => rogue.send({ type: 'NOTE', alias: 0, kind: 'pair', body: '{}' }),
      /NOTE does not belong/,
    ],
    [
      'a note for the log, in the name of its run',
      (rogue) => rogue.send({ type: 'NOTE', alias: 1, kind: 'pair', body: '{}' }),
      /NOTE is not for callers/,
    ],
    ['garbage for a message', (rogue) => rogue.frame(Buffer.from('1800000000000001ffffffff', 'hex')), /SIGNAL/],
  ])('%s', async (_what, act, message) => {
    const rogue = await Rogue.authenticated(home.agentSocket);
    await rogue.openCat(1);
    act(rogue);
    expect(await rogue.lastWords()).toMatch(message);
    expect((await host.run(['echo', 'fine'])).stdout).toBe('fine\n');
  });

  test('an OPEN with a grant, where several callers share the link', async () => {
    const rogue = await Rogue.authenticated(home.agentSocket, {}, ['shared']);
    rogue.open(1, ['true'], false, { grant: { rule: 'mine', policyRev: 1, runAs: 'root' } });
    expect(await rogue.lastWords()).toMatch(/OPEN.grant is not for callers to set/);
  });

  test('stdin beyond its credit', async () => {
    const rogue = await Rogue.authenticated(home.agentSocket);
    rogue.open(1, ['sleep', '600'], true);
    await rogue.hears('CREDIT');
    for (let at = 0; at < 40; at++) rogue.frame(data(1, 0, at * 65_536, Buffer.alloc(65_536)));
    expect(await rogue.lastWords()).toMatch(/beyond the credit/);
    expect((await host.run(['echo', 'fine'])).stdout).toBe('fine\n');
  });

  test('noise of every length', async () => {
    const { noise } = await import('../dist/chatter.js');
    for (let seed = 0; seed < 60; seed++) {
      const rogue = await Rogue.authenticated(home.agentSocket);
      const bytes = noise(`garbage ${seed}`, 64 + seed * 37);
      if (seed % 2) rogue.frame(bytes);
      else rogue.raw(bytes);
      rogue.socket.end();
      await rogue.closed;
    }
    expect((await host.run(['echo', 'fine'])).stdout).toBe('fine\n');
  });
});

test('ten thousand OPENs on one link are each right or refused, and the agent stays small', async () => {
  const fleet = await fleetOf(1, { agent: { maxRunsPerLink: 1000 } });
  const before = process.memoryUsage().rss;
  const runs = Array.from({ length: 10_000 }, () => fleet.hosts[0]!.run(['true'], { reject: false }));
  const outcomes = new Map<string, number>();
  for (const result of await Promise.all(runs)) {
    const key = result.outcome === 'refused' ? `refused ${result.refusal}` : result.outcome;
    outcomes.set(key, (outcomes.get(key) ?? 0) + 1);
  }
  const { ok = 0, 'refused busy': busy = 0, ...others } = Object.fromEntries(outcomes);
  expect(others).toEqual({});
  expect(ok).toBeGreaterThanOrEqual(1000);
  expect(ok + busy).toBe(10_000);
  // Caller and agent share this process.
  expect(process.memoryUsage().rss - before).toBeLessThan(600 * 1024 * 1024);
});

test('a caller that never reads makes the agent keep little, and others do not notice', async () => {
  const rogue = await Rogue.authenticated(home.agentSocket);
  rogue.socket.pause();
  const before = process.memoryUsage().rss;
  for (let alias = 1; alias <= 200; alias++) rogue.open(alias, ['head', '-c', '900000', '/dev/zero']);
  for (let opId = 1; opId <= 20_000; opId++) rogue.send({ type: 'LIST', alias: 0, opId, all: true });
  const results = await Promise.all(Array.from({ length: 20 }, () => host.run(['seq', '1000'])));
  expect(results.every(({ ok }) => ok)).toBe(true);
  expect(process.memoryUsage().rss - before).toBeLessThan(300 * 1024 * 1024);
  rogue.socket.destroy();
  await rogue.closed;
});

test('words too long for an answer are shortened in it, and the agent goes on', async () => {
  const rogue = await Rogue.authenticated(home.agentSocket);
  const long = 'v'.repeat(1024 * 1024 - 20);
  rogue.send({ type: 'ASK', alias: 0, opId: 1, what: long });
  const [answer] = await rogue.hears('ANSWER');
  expect(answer!.error).toMatch(/cannot answer "v{40}…"/);
  const spec = encodeSpec({ verb: long.slice(60), argv: [], env: [], stdin: false, tags: [], secrets: [] });
  rogue.send({
    type: 'OPEN',
    alias: 1,
    runId: newRunId(),
    spec,
    notAfterMs: Date.now() + 60_000,
    attach: [],
    secrets: [],
  });
  const [refused] = await rogue.hears('REFUSED');
  expect(refused).toMatchObject({
    code: 'badspec',
    message: expect.stringMatching(/^spec\.verb must be one of exec, sh,/),
  });
  rogue.socket.destroy();
});

test('more questions than allowed at once are answered as too many', async () => {
  const rogue = await Rogue.authenticated(home.agentSocket);
  for (let opId = 1; opId <= 500; opId++) rogue.send({ type: 'ASK', alias: 0, opId, what: 'status' });
  const answers = await rogue.hears('ANSWER', 500);
  expect(new Set(answers.map(({ opId }) => opId)).size).toBe(500);
  for (const { error } of answers) if (error !== undefined) expect(error).toMatch(/maxQuestions/);
  rogue.socket.destroy();
});
