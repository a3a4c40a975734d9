/** Our own program, as the keeper starts it for put, get and forward: whose it is, what it gets, and what it never gets. */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Grant, Spec } from '../../dist/protocol/messages.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { until } from '../../../../test/support/waits.js';
import { bytes, KeeperClient, PRINCIPAL, type Attached } from './keeper-client.js';

const dist = fileURLToPath(new URL('../../dist/', import.meta.url));

let keeper: KeeperClient;
beforeAll(async () => {
  // What would turn Node into another program, if any of it came through.
  const env = { NODE_OPTIONS: '--title=changed', NODE_PATH: '/tmp', LANG: 'de_DE.UTF-8' };
  keeper = await KeeperClient.start({ env });
});
afterAll(async () => await keeper[Symbol.asyncDispose]());

/** A server that answers each connection when it has ended, and the connections it has. */
async function serve(host = '127.0.0.1'): Promise<{ port: number; connected: Promise<Socket> }> {
  const server = createServer({ allowHalfOpen: true });
  const connected = new Promise<Socket>((resolve) => server.once('connection', resolve));
  await new Promise<void>((resolve) => void server.listen(0, host, resolve));
  onTestFinished(() => void server.close());
  return { port: (server.address() as AddressInfo).port, connected };
}

function forward(operand: string | Uint8Array, spec: Partial<Spec> = {}, by: KeeperClient = keeper): Attached {
  return by.open({ verb: 'forward', argv: [Buffer.from(operand as string)], stdin: true, ...spec });
}

/** A connection that stays open, and its process. */
async function held(spec: Partial<Spec> = {}, by: KeeperClient = keeper): Promise<{ run: Attached; proc: string }> {
  const { port, connected } = await serve();
  const run = forward(`127.0.0.1:${port}`, spec, by);
  const refused = run.wait('REFUSED').then(({ message }) => Promise.reject(new Error(message)));
  const over = run.exit.then(async () => Promise.reject(new Error(await run.text(2))));
  const socket = await Promise.race([connected, refused, over]);
  for (const promise of [refused, over]) promise.catch(() => undefined);
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => undefined);
  return { run, proc: `/proc/${(await run.wait('STARTED')).pid}` };
}

/** Records of a kind in the keeper's log. */
async function logged(kind: string): Promise<Record<string, unknown>[]> {
  await (await keeper.ask({ type: 'ASK', what: 'log' })).wait('ANSWER');
  const folder = join(keeper.home.state, 'log');
  const files = readdirSync(folder).filter((name) => name.endsWith('.jsonl'));
  const lines = files.flatMap((name) => readFileSync(join(folder, name), 'utf8').trim().split('\n'));
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>).filter((each) => each.kind === kind);
}

const end = (run: Attached, final: number): void => run.send({ type: 'EOS', stream: 0, final });
const variablesOf = (proc: string): string[] =>
  readFileSync(`${proc}/environ`, 'latin1').split('\0').filter(Boolean).toSorted();
const wordsOf = (proc: string): Buffer[] => {
  const text = readFileSync(`${proc}/cmdline`);
  return text
    .toString('latin1')
    .split('\0')
    .slice(0, -1)
    .map((word) => Buffer.from(word, 'latin1'));
};

describe('forward', () => {
  test('carries bytes both ways, and the end of each direction by itself', async () => {
    const { port, connected } = await serve();
    const run = forward(`127.0.0.1:${port}`);
    const question = Buffer.alloc(300_000, 'question');
    run.input(0, question.subarray(0, 60_000));
    const socket = await connected;
    const heard: Buffer[] = [];
    socket.on('data', (piece: Buffer) => heard.push(piece));
    await run.wait('ACK', ({ stream }) => stream === 0);
    for (let at = 60_000; at < question.length; at += 60_000) run.input(at, question.subarray(at, at + 60_000));
    end(run, question.length);
    await new Promise((resolve) => socket.once('end', resolve));
    expect(Buffer.concat(heard).equals(question)).toBe(true);
    const answer = Buffer.alloc(3_000_000, 'answer');
    socket.end(answer);
    expect((await run.exit).code).toBe(0);
    expect((await run.exit).upto.find(({ stream }) => stream === 1)?.offset).toBe(answer.length);
  });

  test('the other side may end first', async () => {
    const { port, connected } = await serve();
    const run = forward(`127.0.0.1:${port}`);
    const socket = await connected;
    const heard: Buffer[] = [];
    socket.on('data', (piece: Buffer) => heard.push(piece));
    const ended = new Promise((resolve) => socket.once('end', resolve));
    socket.end('all');
    await run.wait('EOS', ({ stream }) => stream === 1);
    run.input(0, bytes('later'));
    end(run, 5);
    expect((await run.exit).code).toBe(0);
    // Word of the exit comes by another socket, and may be read first.
    await ended;
    expect(Buffer.concat(heard).toString()).toBe('later');
  });

  test('takes names and IPv6 addresses in brackets', async () => {
    for (const [host, operand] of [
      ['127.0.0.1', 'localhost'],
      ['::1', '[::1]'],
    ] as const) {
      const { port, connected } = await serve(host);
      const run = forward(`${operand}:${port}`);
      end(run, 0);
      (await connected).end('here');
      expect(await run.text()).toBe('here');
    }
  });

  test('says in one sentence, with a code, why there is no connection', async () => {
    const said = async (operand: string | Uint8Array): Promise<string> => {
      const run = forward(operand);
      expect((await run.exit).code).toBe(1);
      return await run.text(2);
    };
    // The port of a service that is not in use.
    expect(await said('127.0.0.1:1')).toBe('127.0.0.1:1 refused the connection (ECONNREFUSED)\n');
    expect(await said('no-such-host.invalid:22')).toMatch(/^no-such-host\.invalid .* here \(\w+\)\n$/);
    for (const wrong of [
      '127.0.0.1',
      '127.0.0.1:0',
      '127.0.0.1:65536',
      '::1:22',
      '[x]:22',
      ':22',
      '--version',
      '-e',
      'a b:1',
    ])
      expect(await said(wrong)).toMatch(/^".*" is not HOST:PORT.*\(EINVAL\)\n$/);
    expect(await said(Buffer.from('\xff\x1b[2J\n:22', 'latin1'))).toMatch(/^".*\\u001b.*" is not HOST:PORT.*\n$/);
  });

  test('ends with its caller’s wish, and is known by its verb', async () => {
    const { run } = await held();
    const listed = (await keeper.list(false)).find(({ runId }) => Buffer.compare(runId, run.runId) === 0);
    expect(listed?.argv.map((word) => Buffer.from(word).toString())).toEqual([
      'forward',
      expect.stringMatching(/^127/),
    ]);
    await run.operate({ type: 'CANCEL' });
    expect(await run.exit).toMatchObject({ cause: 'cancelled', survivors: [] });
  });
});

describe('our own program', () => {
  test('gets its operands and nothing of its caller, whatever the caller and the keeper have', async () => {
    const { run, proc } = await held();
    expect(variablesOf(proc)).toEqual([
      'LANG=C.UTF-8',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'SENDALL_ROOTS=any',
      expect.stringMatching(/^SENDALL_RUN=/),
    ]);
    const words = wordsOf(proc).map(String);
    expect(words).toEqual([process.execPath, `${dist}transfer/helper.cjs`, 'forward', expect.stringMatching(/^127/)]);
    expect(readlinkSync(`${proc}/cwd`)).toBe(realpathSync(userInfo().homedir));
    end(run, 0);
    for (const part of [
      { env: [bytes('NODE_OPTIONS=--import=data:text/javascript,process.exit(9)')] },
      { cwd: bytes('/tmp') },
      { script: bytes('id') },
      { pty: { cols: 80, rows: 24 } },
      { capture: 'merged' },
      { stdin: false },
    ])
      expect((await forward('127.0.0.1:1', part).wait('REFUSED')).code).toBe('badspec');
  });

  test('has a pipe for its report and no other descriptor of ours', async () => {
    const { proc } = await held();
    expect(readlinkSync(`${proc}/fd/3`)).toMatch(/^pipe:/);
    const names = ['0', '1', '2', '3'].map((fd) => readlinkSync(`${proc}/fd/${fd}`));
    expect(new Set(names).size).toBe(4);
  });

  test('takes its operands as the bytes that they are, and never as options', async () => {
    for (const operand of ['--version', '-e', '--', Buffer.from('/tmp/\xff\x0a', 'latin1')]) {
      const run = keeper.open({ verb: 'put', argv: [Buffer.from(operand as string)], stdin: true });
      const { pid } = await run.wait('STARTED');
      // Between fork and exec a process may have none for a moment.
      await until(() => wordsOf(`/proc/${pid}`).length, 'its words');
      expect(wordsOf(`/proc/${pid}`).slice(-2)).toEqual([bytes('put'), Buffer.from(operand as string)]);
      end(run, 0);
      expect((await run.exit).code).toBe(2);
      expect(await run.text(2)).toMatch(/^sendall: .*stream/);
    }
  });

  test('reports what it did, and whatever comes instead is bounded and marked', async () => {
    /** A transfer that waits for its caller, and the pipe of its report. */
    const waiting = async () => {
      const run = keeper.open({ verb: 'put', argv: [bytes('/tmp/x')], stdin: true });
      return { run, pipe: `/proc/${(await run.wait('STARTED')).pid}/fd/3` };
    };
    const line = (path: string) => `{"path":"${path}","bytes":7,"sha256":"${'ab'.repeat(32)}"}\n`;
    const forged = await waiting();
    writeFileSync(forged.pipe, line('/forged') + line('/other'));
    const broken = await waiting();
    writeFileSync(broken.pipe, `${line('/first')}no JSON\n`);
    const flooded = await waiting();
    expect(() => writeFileSync(flooded.pipe, line('/much').repeat(200_000))).toThrow('EPIPE');
    for (const { run } of [forged, broken, flooded]) {
      end(run, 0);
      await run.exit;
    }
    const records = await logged('put');
    const named = { bytes: 7, sha256: 'ab'.repeat(32) };
    expect(records).toMatchObject([
      { principal: PRINCIPAL, reported: true, files: 2, bytes: 14, named: [{ path: '/forged', ...named }, {}] },
      { reported: true, files: 1, named: [{ path: '/first', ...named }] },
      { reported: true, files: 100, bytes: 700 },
    ]);
    expect(records[2]!.named).toHaveLength(100);
  });

  test('ends when its caller has left, as nothing can come of it', async () => {
    const { run } = await held();
    const watcher = keeper.attach(run.runId);
    await watcher.wait('ATTACHED');
    run.send({ type: 'DETACH', left: true });
    expect(await watcher.exit).toMatchObject({ cause: 'cancelled', reason: 'its caller has left' });
  });

  test('starts without koffi too', async () => {
    const plain = await KeeperClient.start({ plain: true });
    onTestFinished(() => plain[Symbol.asyncDispose]());
    const { run, proc } = await held({}, plain);
    expect(variablesOf(proc)).toHaveLength(4);
    expect(readlinkSync(`${proc}/fd/3`)).not.toBe(readlinkSync(`${proc}/fd/2`));
    await run.operate({ type: 'CANCEL' });
  });

  test('starts at most once, and outlives a lost link', async () => {
    const { run, proc } = await held();
    const again = keeper.attach(run.runId, 'control');
    expect((await again.wait('ATTACHED')).state).toBe('running');
    expect(readFileSync(`${proc}/cmdline`, 'latin1')).toContain('forward');
  });
});

rootDescribe('our own program of another user', () => {
  test('is that user’s, in its home or in /', async () => {
    const { run, proc } = await held({ runAs: 'daemon' });
    expect(readFileSync(`${proc}/status`, 'latin1')).toMatch(/^Uid:\t1\t1\t1\t1$/m);
    expect(readlinkSync(`${proc}/cwd`)).toBe('/usr/sbin');
    const nowhere = await held({ runAs: 'nobody' });
    expect(readlinkSync(`${nowhere.proc}/cwd`)).toBe('/');
    await nowhere.run.operate({ type: 'CANCEL' });
    await run.operate({ type: 'CANCEL' });
  });

  /** Another installation of this package, and a keeper of it. */
  async function installed(prepare: (folder: string) => void): Promise<{ folder: string; other: KeeperClient }> {
    const folder = mkdtempSync(join(tmpdir(), 'sendall-own-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const program = (path: string): boolean => !/\/(?:src|test|node_modules|man)$/.test(path);
    cpSync(join(dist, '..'), join(folder, 'sendall'), { recursive: true, filter: program });
    symlinkSync(fileURLToPath(new URL('../../../../node_modules', import.meta.url)), join(folder, 'node_modules'));
    copyFileSync(process.execPath, join(folder, 'node'));
    prepare(folder);
    const { execPath } = process;
    process.execPath = join(folder, 'node');
    try {
      const other = await KeeperClient.start({ program: join(folder, 'sendall/dist/keeper/main.js') });
      onTestFinished(() => other[Symbol.asyncDispose]());
      return { folder, other };
    } finally {
      process.execPath = execPath;
    }
  }

  test('starts from descriptors where the user can reach neither it nor Node, or where they were replaced', async () => {
    const { folder, other } = await installed((each) => chmodSync(each, 0o700));
    const last = ['forward', expect.stringMatching(/^127/)];
    const passed = ['/proc/self/fd/5', '--preserve-symlinks-main', '/proc/self/fd/4', ...last];
    const { run, proc } = await held({ runAs: 'daemon' }, other);
    expect(wordsOf(proc).map(String)).toEqual(passed);
    await run.operate({ type: 'CANCEL' });
    // Root itself goes by the paths.
    const own = await held({}, other);
    const helper = join(folder, 'sendall/dist/transfer/helper.cjs');
    expect(wordsOf(own.proc).map(String)).toEqual([join(folder, 'node'), helper, ...last]);
    // An upgrade puts other files there.
    for (const path of [helper, join(folder, 'node')]) {
      rmSync(path);
      writeFileSync(path, 'another version', { mode: 0o755 });
    }
    const later = await held({}, other);
    expect(wordsOf(later.proc).map(String)).toEqual(passed);
  });

  test('is not started by root where others could change it', async () => {
    const { other } = await installed((folder) => chmodSync(join(folder, 'sendall'), 0o777));
    const { code, message } = await forward('127.0.0.1:1', {}, other).wait('REFUSED');
    expect([code, message]).toEqual(['policy', expect.stringContaining('can be changed by other users')]);
    expect(await other.sh('echo fine').text()).toBe('fine\n');
    expect((await other.status()).cannotTransfer).toBe(message);
    expect((await keeper.status()).cannotTransfer).toBeNull();
  });

  test('a grant starts what it is for, and never as root', async () => {
    const refused = async (spec: Partial<Spec>, grant: Partial<Grant>): Promise<string> => {
      const given = { rule: 'a-rule', policyRev: 1, runAs: 'daemon', ...grant };
      const { code, message } = await keeper
        .open({ argv: [bytes('/srv/x')], stdin: true, ...spec }, { grant: given })
        .wait('REFUSED');
      expect(code).toBe('policy');
      return message;
    };
    const transfer = { roots: [bytes('/srv')] };
    expect(await refused({ verb: 'forward', argv: [bytes('127.0.0.1:1')] }, { transfer })).toMatch(/for owners/);
    expect(await refused({ verb: 'put' }, {})).toMatch(/names no folders/);
    expect(await refused({ verb: 'put' }, { transfer: { roots: [] } })).toMatch(/names no folders/);
    expect(await refused({ verb: 'get' }, { transfer, runAs: 'root', trustsProgram: true })).toMatch(/as root/);
    expect(await refused({ verb: 'get' }, { transfer, runAs: undefined })).toMatch(/names no user/);
    expect(await refused({ verb: 'exec' }, { transfer, program: bytes('/bin/true') })).toMatch(/starts no command/);
    expect(await refused({ verb: 'put', runAs: 'bin' }, { transfer })).toMatch(/not as bin/);
  });
});
