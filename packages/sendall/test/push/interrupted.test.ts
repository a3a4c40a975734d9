/** push and pull through killed agents, signals and full disks: the file is old or new, and the rest is resumed. */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { rootTest } from '../../../../test/support/root.js';
import { until, within } from '../../../../test/support/waits.js';
import { Machine, User } from '../cli/support.js';
import { HeldWay } from './held-way.js';

const SIZE = 48 * 1024 * 1024;

let machine: Machine;
let way: HeldWay;
let user: User;
let folder: string;
let source: string;
let to: string;
beforeAll(async () => {
  machine = await Machine.start();
  way = await HeldWay.to(machine.url);
  user = new User();
  const [made] = machine.user.events(['pair', '--new', '--json']);
  expect(user.call(['pair', way.url, '--code', String(made!.code), '--name', 'web1'])).toMatchObject({ code: 0 });
}, 120_000);
afterAll(async () => {
  user?.[Symbol.dispose]();
  await way?.[Symbol.asyncDispose]();
  await machine?.[Symbol.asyncDispose]();
}, 120_000);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-push-'));
  source = join(folder, 'source');
  to = join(folder, 'to');
  mkdirSync(to);
  const block = randomBytes(1024 * 1024);
  writeFileSync(source, Buffer.concat(Array.from({ length: SIZE / block.length }, () => block)));
  return () => rmSync(folder, { recursive: true, force: true });
});

const words = (direction: string) =>
  direction === 'push' ? ['push', source, `web1:${to}/file`] : ['pull', `web1:${source}`, join(to, 'file')];

/** Bytes of the part that has arrived. */
const arrived = () =>
  readdirSync(to).reduce((sum, name) => sum + (statSync(join(to, name), { throwIfNoEntry: false })?.size ?? 0), 0);

/** Starts it; resolves when a part of the file has arrived. The rest cannot arrive before the way to the host is released. */
async function begun(direction: string) {
  await way.hold(SIZE / 4);
  const child = user.start(words(direction));
  const said = Promise.all([text(child.stdout!), text(child.stderr!)]);
  const ended = once(child, 'exit').then(async ([code]) => ({ code: code as number | null, said: await said }));
  await until(() => arrived() > SIZE / 8, 'a part of the file');
  return { child, ended };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

const sentAgain = (direction: string) => {
  const result = user.events([...words(direction), '--json']).at(-1)!;
  expect(result).toMatchObject({ event: 'result', outcome: 'ok', files: 1, bytes: SIZE });
  expect(readFileSync(join(to, 'file')).equals(readFileSync(source))).toBe(true);
  expect(readdirSync(to)).toEqual(['file']);
  return Number(result.sent);
};

for (const direction of ['push', 'pull']) {
  test(`${direction}: an agent that is killed in the middle costs nothing`, async () => {
    const { ended } = await begun(direction);
    const pid = machine.agentPid!;
    process.kill(pid, 'SIGKILL');
    await until(() => !isAlive(pid), 'the end of the agent');
    await machine.startAgent('--listen', machine.url);
    await way.release();
    expect(await within(ended, 'the end of the transfer', 60_000)).toEqual({ code: 0, said: ['', ''] });
    expect(readFileSync(join(to, 'file')).equals(readFileSync(source))).toBe(true);
    expect(readdirSync(to)).toEqual(['file']);
  });

  test(`${direction}: after a signal or the caller's death, the next one sends the rest only`, async () => {
    const first = await begun(direction);
    first.child.kill('SIGINT');
    await way.release();
    expect(await within(first.ended, 'the end of the transfer')).toMatchObject({ code: 204 });
    expect(readdirSync(to)).not.toContain('file');
    expect(sentAgain(direction)).toBeLessThan(SIZE);
  });

  test(`${direction}: a run that is killed ends its caller with the reason, and keeps the part that came`, async () => {
    const { child, ended } = await begun(direction);
    // So that it stays in the middle.
    child.kill('SIGSTOP');
    await way.release();
    const [run] = user.events(['ps', 'web1', '--json']);
    expect(user.call(['kill', String(run!.runId)]).code).toBe(0);
    child.kill('SIGCONT');
    const { code, said } = await within(ended, 'the end of the transfer');
    expect([code, said[0]]).toEqual([1, '']);
    expect(said[1]).toMatch(/^sendall: web1: .*: sendall kill\n$/);
    const parts = readdirSync(to);
    expect(parts).toHaveLength(1);
    expect(parts[0]).toMatch(/^\.sendall-[^.]+\.[0-9a-f]{16}$/);
    expect(sentAgain(direction)).toBeLessThan(SIZE);
  });
}

test('a run that is lost with its keeper is followed by another one, which goes on where the file is', async () => {
  const { ended } = await begun('push');
  const [status] = machine.user.events(['agent', 'status', '--json']);
  process.kill(Number(status!.keeperPid), 'SIGKILL');
  // The lost run's program keeps the part to itself until it has seen that its streams have ended.
  const [part] = readdirSync(to);
  const isLeft = () => spawnSync('flock', ['--nonblock', join(to, part!), 'true']).status === 0;
  await until(isLeft, 'the part to be let go of');
  await way.release();
  const { code, said } = await within(ended, 'the end of the transfer', 60_000);
  expect([code, said[0]]).toEqual([0, '']);
  expect(said[1]).toMatch(/^sendall: web1: .+: another run goes on\n$/);
  expect(readFileSync(join(to, 'file')).equals(readFileSync(source))).toBe(true);
  expect(readdirSync(to)).toEqual(['file']);
});

rootTest('a full disk there fails the file with its reason, and leaves what was there', () => {
  const small = join(folder, 'small');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', small]);
  try {
    writeFileSync(join(small, 'source'), 'old');
    const ended = user.call(['push', source, `web1:${small}`]);
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/^sendall: web1: source: .*(no space|disk is full)/i);
    expect(readFileSync(join(small, 'source'), 'utf8')).toBe('old');
  } finally {
    execFileSync('umount', ['-l', small]);
  }
});
