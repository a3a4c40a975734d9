/** Files of callers who are no owners, the whole way: from the policy file through agent and keeper to the disk. */
import {
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { connect, pair, resolveHome, type Home, type Host, type Transfer, type TransferOptions } from 'sendall';
import { Agent } from '../../dist/agent/agent.js';
import { KeeperGate } from '../../dist/agent/gate.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { removeHome } from '../remove-home.js';

/** The account of the rules, and one whose files are not its own. */
const ACCOUNT = 'daemon';
const DAEMON = Number(execFileSync('id', ['-u', ACCOUNT]));

let folder: string;
/** What a rule lets alice write, read, and neither. */
let area: string;
let [drop, shelf, secret] = ['', '', ''];
let agent: Agent;
let owner: Host;
let alice: Host;
const homeIn = (name: string): Home => resolveHome({ SENDALL_HOME: join(folder, name) });

const policy = () => `version: 1
rules:
  - {id: drop, who: [alice], verbs: [put], paths: ['${drop}/**'], run-as: ${ACCOUNT}, limits: {size: 1MiB, runs: 4}}
  - {id: shelf, who: [alice], verbs: [get], paths: ['${shelf}/*'], run-as: ${ACCOUNT}}
  - {id: rest, who: [alice], verbs: [list, signal]}
`;

/** The lines of the host's log that are about a run. */
async function logged(runId: string): Promise<Record<string, unknown>[]> {
  const { lines } = await owner.ask<{ lines: string[] }>('log-lines', { from: 0 });
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ run }) => run === runId);
}

const bytesFrom = (text: string | Uint8Array) => Readable.from([Buffer.from(text as string)]);
const push = (text: string | Uint8Array, to: string | Uint8Array, options: TransferOptions = {}): Transfer =>
  alice.push(bytesFrom(text), to, { reject: false, ...options });
async function pull(from: string): Promise<{ ok: boolean; text: string; reason: string }> {
  const to = join(folder, `pulled-${randomBytes(4).toString('hex')}`);
  const { ok, reason, problems } = await alice.pull(from, to, { reject: false });
  return {
    ok,
    text: existsSync(to) ? readFileSync(to, 'utf8') : '',
    reason: [reason, ...problems.map((problem) => problem.reason)].join('; '),
  };
}

rootDescribe('files of a caller who is no owner', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sendall-files-'));
    const home = homeIn('host');
    agent = new Agent(
      { home, listen: ['tls://127.0.0.1:0'], keeperIdleExit: 200 },
      new KeeperGate(home, { idleExitMs: 200 }),
    );
    await agent.open();
    owner = await connect('local', { home });
    const url = agent.listening.find((each) => each.startsWith('tls:'))!;
    const hers = homeIn('alice');
    await pair(hers, url, { code: agent.issueCode({ principal: 'alice', roles: ['deploy'] }).code, name: 'host' });
    alice = await connect('host', { home: hers });
  });
  beforeEach(() => {
    area = mkdtempSync(join(realpathSync('/var/tmp'), 'sendall-area-'));
    chownSync(area, DAEMON, DAEMON);
    [drop, shelf, secret] = [join(area, 'drop'), join(area, 'shelf'), join(area, 'secret')];
    for (const each of [drop, shelf, secret]) {
      mkdirSync(each);
      chownSync(each, DAEMON, DAEMON);
      writeFileSync(join(each, 'old'), 'old');
      chownSync(join(each, 'old'), DAEMON, DAEMON);
    }
    const { policyFile } = homeIn('host');
    writeFileSync(`${policyFile}.new`, policy(), { mode: 0o600 });
    renameSync(`${policyFile}.new`, policyFile);
    return () => rmSync(area, { recursive: true, force: true });
  });
  afterAll(async () => {
    await alice.close();
    await owner.ask('stop', { runs: true });
    await owner.close();
    await agent.stopped;
    for (const name of readdirSync(folder))
      if (statSync(join(folder, name)).isDirectory()) await removeHome(join(folder, name), 0);
    rmSync(folder, { recursive: true, force: true });
  });

  test('go where a rule says, as its account, and the log names them', async () => {
    const pushed = await push('new content', join(drop, 'old'));
    expect(pushed).toMatchObject({ ok: true, files: 1, bytes: 11 });
    expect(readFileSync(join(drop, 'old'), 'utf8')).toBe('new content');
    expect(statSync(join(drop, 'old'))).toMatchObject({ uid: DAEMON, nlink: 1 });
    expect(readdirSync(drop)).toEqual(['old']);
    const records = await logged(pushed.runId);
    expect(records.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['allow', 'start', 'put', 'exit']));
    const [allow, start, put] = ['allow', 'start', 'put'].map((kind) => records.find((each) => each.kind === kind)!);
    expect(allow).toMatchObject({
      principal: 'alice',
      rule: 'drop',
      verb: 'put',
      argv: [join(drop, 'old')],
      as: ACCOUNT,
    });
    expect(start).toMatchObject({ program: expect.stringContaining('transfer/helper'), as: ACCOUNT });
    expect(put).toMatchObject({ principal: 'alice', reported: true, files: 1, bytes: 11 });
    expect(put!.named).toEqual([
      { path: join(drop, 'old'), bytes: 11, sha256: expect.stringMatching(/^[\da-f]{64}$/) },
    ]);
    const tree = mkdtempSync(join(folder, 'tree-'));
    mkdirSync(join(tree, 'a'));
    writeFileSync(join(tree, 'a/b'), 'b');
    const named = async (transfer: Transfer) => (await logged((await transfer).runId)).find(({ named: n }) => n)?.named;
    expect(await named(owner.push(tree, join(secret, 'new')))).toMatchObject([{ path: join(secret, 'new/a/b') }]);
    expect(await named(owner.push(join(tree, 'a'), `${secret}/`))).toMatchObject([{ path: join(secret, 'a/b') }]);
    expect(await named(owner.pull(join(secret, 'a'), join(folder, 'back')))).toMatchObject([
      { path: join(secret, 'a/b') },
    ]);
    const pulled = await pull(join(shelf, 'old'));
    expect(pulled).toMatchObject({ ok: true, text: 'old' });
  });

  test('are refused outside of the rules, before anything starts', async () => {
    for (const path of [
      join(secret, 'x'),
      `${drop}/../secret/x`,
      `${drop}/./x`,
      `${drop}//x`,
      `${drop}/`,
      drop,
      `${drop}x`,
      'relative',
      '--help',
      '/etc/passwd',
      Buffer.concat([Buffer.from(`${drop}/`), Buffer.from([0xff])]),
    ]) {
      const { outcome, reason } = await push('x', path);
      expect([outcome, reason]).toEqual(['refused', expect.stringContaining('no rule lets alice put')]);
    }
    for (const path of [join(drop, 'old'), join(shelf, 'a/b'), join(secret, 'old'), shelf])
      expect((await pull(path)).reason).toContain('no rule lets alice get');
    expect((await push('x', join(drop, 'x'), { runAs: 'root' })).outcome).toBe('refused');
    expect(readdirSync(secret)).toEqual(['old']);
  });

  test('go through no link, neither one that was there nor one in the place of a folder', async () => {
    symlinkSync(secret, join(drop, 'link'));
    symlinkSync(join(secret, 'old'), join(drop, 'file'));
    expect(await push('x', join(drop, 'link/new'))).toMatchObject({ ok: false });
    expect(await push('x', join(drop, 'file'))).toMatchObject({ ok: false });
    symlinkSync(join(secret, 'old'), join(shelf, 'file'));
    expect(await pull(join(shelf, 'file'))).toMatchObject({ ok: false, text: '' });
    renameSync(drop, `${drop}.real`);
    symlinkSync(secret, drop);
    expect(await push('x', join(drop, 'new'))).toMatchObject({ ok: false });
    expect(readdirSync(secret)).toEqual(['old']);
    expect(readFileSync(join(secret, 'old'), 'utf8')).toBe('old');
  });

  test('go through no link that comes and goes meanwhile', async () => {
    mkdirSync(join(drop, 'real'));
    chownSync(join(drop, 'real'), DAEMON, DAEMON);
    symlinkSync(secret, join(drop, 'link'));
    symlinkSync(secret, join(drop, 'sub'));
    // The folder and the link take each other's place all the time.
    const swap = `
import os, time
os.chdir(${JSON.stringify(drop)})
while True:
    for old, new in ('sub', 's1'), ('real', 'sub'), ('sub', 'real'), ('s1', 'sub'):
        os.rename(old, new)
        time.sleep(0.0003)`;
    const swapping = spawn('python3', ['-c', swap], { stdio: 'ignore' });
    const ended = once(swapping, 'exit');
    for (let i = 0; i < 8; i++) await push(`${i}`, join(drop, `sub/new-${i}`));
    swapping.kill('SIGKILL');
    await ended;
    expect(readdirSync(secret)).toEqual(['old']);
  });

  test('are regular files, and no other name of a file of another account', async () => {
    const theirs = join(area, 'theirs');
    writeFileSync(theirs, 'not for daemon’s callers', { mode: 0o644 });
    linkSync(theirs, join(shelf, 'hard'));
    expect(await pull(join(shelf, 'hard'))).toMatchObject({ ok: false, text: '' });
    execFileSync('mkfifo', [join(shelf, 'fifo'), join(drop, 'fifo')]);
    expect(await pull(join(shelf, 'fifo'))).toMatchObject({ ok: false });
    expect(await push('x', join(drop, 'fifo'))).toMatchObject({ ok: false });
    expect(lstatSync(join(drop, 'fifo')).isFIFO()).toBe(true);
    mkdirSync(join(drop, 'folder'));
    expect(await push('x', join(drop, 'folder'))).toMatchObject({ ok: false });
    const tree = mkdtempSync(join(folder, 'tree-'));
    writeFileSync(join(tree, 'a'), 'a');
    expect(await alice.push(tree, join(drop, 'tree'), { reject: false })).toMatchObject({ ok: false });
    expect(await alice.push(join(tree, 'a'), join(drop, 'a'), { reject: false, delete: true })).not.toMatchObject({
      deleted: 1,
    });
    expect(existsSync(join(drop, 'old'))).toBe(true);
    expect(existsSync(join(drop, 'tree'))).toBe(false);
  });

  test('stay on one file system', async () => {
    const mount = join(drop, 'mount');
    mkdirSync(mount);
    const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `mode=777`, 'none', mount]);
    // Not every machine lets tests mount something.
    if (status !== 0) return;
    try {
      expect(await push('x', join(mount, 'new'))).toMatchObject({ ok: false });
      expect(readdirSync(mount)).toEqual([]);
    } finally {
      execFileSync('umount', ['-l', mount]);
    }
  });

  test('are no larger than the rule says', async () => {
    const size = 1024 * 1024;
    expect(await push(Buffer.alloc(size + 1), join(drop, 'large'))).toMatchObject({ ok: false });
    expect(existsSync(join(drop, 'large'))).toBe(false);
    expect(await push(Buffer.alloc(size), join(drop, 'large'))).toMatchObject({ ok: true });
  });
});
