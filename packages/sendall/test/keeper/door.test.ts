import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lengthPrefixed } from '@sendall/framing';
import { ensureKeeper, retireKeeper } from '../../dist/keeper/door/door.js';
import { resolveHome } from '../../dist/home.js';
import { encodeEntries } from '../../dist/keeper/journal/entries.js';
import { encode } from '../../dist/protocol/codec.js';
import { bytes, KeeperClient } from './keeper-client.js';
import { until, within } from '../../../../test/support/waits.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'door-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const nobody = { onMessage: () => undefined };

async function talk(path: string, ...pieces: Buffer[]): Promise<Buffer> {
  const socket = connect(path);
  for (const piece of pieces) socket.write(piece);
  const answer: Buffer[] = [];
  for await (const chunk of socket) answer.push(chunk as Buffer);
  return Buffer.concat(answer);
}

describe('two keepers of one folder', () => {
  test('without working locks: the second one does not start, and says why', async () => {
    await using keeper = await KeeperClient.start({}, folder);
    const { pid } = keeper.link;
    // It would make its socket again before the second one is looked for.
    process.kill(pid, 'SIGSTOP');
    try {
      // As on a disk that grants the lock to every process.
      rmSync(join(folder, 'keeper.lock'));
      rmSync(keeper.home.keeperSocket);
      await expect(ensureKeeper(keeper.home, nobody)).rejects.toThrow(
        `another keeper (pid ${pid}) writes in ${folder}`,
      );
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(await keeper.exec('true').exit).toMatchObject({ code: 0 });
  });

  test('if the second one cannot see the first, the first ends with a sentence', async () => {
    const first = await KeeperClient.start({}, folder);
    // It would take its place again before a slow start of the second one.
    process.kill(first.link.pid, 'SIGSTOP');
    for (const name of readdirSync(folder)) if (name.startsWith('keeper.')) rmSync(join(folder, name));
    await using second = await KeeperClient.start({}, folder);
    process.kill(first.link.pid, 'SIGCONT');
    expect(second.link.pid).not.toBe(first.link.pid);
    expect((await first.link.closed)?.message ?? readFileSync(join(folder, 'keeper.log'), 'utf8')).toMatch(
      /another keeper writes in/,
    );
    expect(await second.exec('true').exit).toMatchObject({ code: 0 });
  });

  test('a socket that was removed is made again', async () => {
    await using keeper = await KeeperClient.start({}, folder);
    rmSync(keeper.home.keeperSocket);
    await until(() => existsSync(keeper.home.keeperSocket), 'the socket', 20_000);
    const again = await ensureKeeper(keeper.home, nobody);
    expect(again.pid).toBe(keeper.link.pid);
    again.close();
  });
});

describe('a keeper that is to end when it has no command', () => {
  test('goes on for a command, and ends with it', async () => {
    await using keeper = await KeeperClient.start({}, folder);
    const command = keeper.sh(`until test -e ${join(folder, 'go')}; do sleep 0.05; done; exit 3`);
    await command.wait('STARTED');
    expect(await retireKeeper(keeper.home)).toBe(false);
    writeFileSync(join(folder, 'go'), '');
    expect(await command.exit).toMatchObject({ code: 3 });
    await keeper.link.closed;
  });

  test('ends at once without one, and is none then', async () => {
    await using keeper = await KeeperClient.start({}, folder);
    expect(await retireKeeper(keeper.home)).toBe(true);
    await keeper.link.closed;
    expect(await retireKeeper(keeper.home)).toBe(true);
  });
});

describe('the door', () => {
  test('ten agents at once end with one keeper', async () => {
    const home = resolveHome({ SENDALL_HOME: folder });
    const links = await Promise.all(Array.from({ length: 10 }, () => ensureKeeper(home, nobody)));
    expect(new Set(links.map(({ pid }) => pid)).size).toBe(1);
    expect(new Set(links.map(({ epoch }) => epoch.toString('hex'))).size).toBe(1);
    for (const link of links.slice(1)) link.close();
    const keeper = await KeeperClient.start({}, folder);
    await keeper.end();
  });

  test('a keeper that is just ending is no obstacle: its successor is started', async () => {
    const { keeperSocket } = resolveHome({ SENDALL_HOME: folder });
    writeFileSync(join(folder, '.sendall'), '');
    // It listens no more, and closes what had come in by then.
    const ending = createServer((socket) => {
      socket.destroy();
      ending.close();
    });
    await new Promise<void>((resolve) => ending.listen(keeperSocket, resolve));
    const keeper = await KeeperClient.start({}, folder);
    expect(await keeper.exec('true').exit).toMatchObject({ code: 0 });
    await keeper.end();
  });

  test('a socket of a keeper that died is no obstacle', async () => {
    const keeper = await KeeperClient.start({}, folder);
    const { pid } = keeper.link;
    await keeper.crash();
    expect(keeper.link.pid).not.toBe(pid);
    await keeper.end();
  });

  test('it is private to this user: socket, journal, spool and lock', async () => {
    const keeper = await KeeperClient.start({}, folder);
    await keeper.sh('echo x').exit;
    for (const name of ['keeper.sock', 'journal', 'keeper.lock'])
      expect(statSync(join(folder, name)).mode & 0o077).toBe(0);
    expect(statSync(join(folder, 'spool')).mode & 0o077).toBe(0);
    await keeper.end();
  });

  test('the keeper ends when it is idle and no agent is there, and takes its socket along', async () => {
    const keeper = await KeeperClient.start({ idleExitMs: 50 }, folder);
    const { pid } = keeper.link;
    const run = keeper.sh('sleep 0.3');
    await run.wait('STARTED');
    keeper.link.close();
    await until(() => !existsSync(`/proc/${pid}`), 'the end of the keeper');
    expect(existsSync(join(folder, 'keeper.sock'))).toBe(false);
    await keeper.connect();
    expect((await keeper.attach(run.runId).wait('ATTACHED')).exit).toMatchObject({ code: 0 });
    await keeper.end();
  });

  test('a draining keeper takes no new runs and ends with its last one', async () => {
    const keeper = await KeeperClient.start({}, folder);
    const run = keeper.sh('read x; exit 4', { stdin: true });
    await run.wait('STARTED');
    await keeper.ask({ type: 'ASK', what: 'drain' });
    expect(await keeper.exec('true').wait('REFUSED')).toMatchObject({ code: 'busy' });
    run.send({ type: 'EOS', stream: 0, final: 0 });
    expect(await run.exit).toMatchObject({ code: 4 });
    await keeper.link.closed;
  });

  test('who ends all commands ends those, too, that came in the same moment', async () => {
    await using keeper = await KeeperClient.start({}, folder);
    const runs = Array.from({ length: 12 }, () => keeper.exec('sleep', '100'));
    await keeper.ask({ type: 'ASK', what: 'end-runs' });
    const ends = runs.map(async (run) => await Promise.race([run.wait('REFUSED'), run.exit]));
    // None of them comes to its own end.
    for (const end of ends) expect(await within(end, 'the end of a run')).toMatchObject({ code: 'cancelled' });
  });

  test('a path too long for a socket, a folder that is a link or a file: one sentence', async () => {
    const deep = join(folder, 'x'.repeat(120));
    await expect(ensureKeeper(resolveHome({ SENDALL_HOME: deep }), nobody)).rejects.toThrow(/107 bytes/);
    mkdirSync(join(folder, 'real'));
    symlinkSync(join(folder, 'real'), join(folder, 'link'));
    await expect(ensureKeeper(resolveHome({ SENDALL_HOME: join(folder, 'link') }), nobody)).rejects.toThrow(/folder/);
  });

  test('a keeper that cannot start says why', async () => {
    mkdirSync(join(folder, 'home'), { mode: 0o700 });
    writeFileSync(join(folder, 'home', '.sendall'), '');
    const header = { kind: 'header', version: 99, epoch: new Uint8Array(16), forgottenBeforeMs: 0 } as const;
    writeFileSync(join(folder, 'home', 'journal'), encodeEntries([header]));
    await expect(ensureKeeper(resolveHome({ SENDALL_HOME: join(folder, 'home') }), nobody)).rejects.toThrow(
      /could not start: .*journal has version 99/,
    );
  });
});

describe('an agent that violates the protocol', () => {
  test.each([
    ['garbage', [bytes('GET / HTTP/1.1\r\n\r\n')]],
    ['a frame that announces 4 GiB', [Buffer.from('ffffffff', 'hex')]],
    ['an unknown frame type', [lengthPrefixed().encoder().encode(Buffer.from('ee00000000000000', 'hex'))]],
    ['a run before HELLO', [lengthPrefixed().encoder().encode(Buffer.from('1600000000000001', 'hex'))]],
  ])('%s ends that connection and nothing else', async (_, pieces) => {
    const keeper = await KeeperClient.start({}, folder);
    await talk(keeper.home.keeperSocket, ...pieces);
    expect(await keeper.exec('true').exit).toMatchObject({ code: 0 });
    await keeper.end();
  });

  test('a reused alias is refused; the link and the run go on', async () => {
    await using keeper = await KeeperClient.start({}, folder);
    const run = keeper.sh('read x; exit 8', { stdin: true });
    await run.wait('STARTED');
    run.send({ type: 'ATTACH', runId: run.runId, principal: 'x', from: [], mode: 'observe' });
    expect(await run.wait('ATTACH_REFUSED')).toMatchObject({
      code: 'protocol',
      message: expect.stringMatching(/alias \d+ cannot be used/) as string,
    });
    expect(await keeper.exec('true').exit).toMatchObject({ code: 0 });
    run.send({ type: 'EOS', stream: 0, final: 0 });
    expect(await run.exit).toMatchObject({ code: 8 });
  });
});

test('an agent of a newer protocol gets an error, and the old keeper ends with its last command', async () => {
  const keeper = await KeeperClient.start({}, folder);
  const run = keeper.sh('read x; exit 9', { stdin: true });
  await run.wait('STARTED');
  const hello = encode({
    type: 'HELLO',
    alias: 0,
    protoMin: 2,
    protoMax: 3,
    name: 'agent',
    nonce: Buffer.alloc(16),
    features: [],
    clockMs: 0,
    version: '9',
  });
  const answer = await talk(keeper.home.keeperSocket, lengthPrefixed().encoder().encode(hello));
  expect(answer.toString('latin1')).toContain('1 commands) speaks protocol 1');
  expect(await keeper.exec('true').wait('REFUSED')).toMatchObject({ code: 'busy' });
  run.send({ type: 'EOS', stream: 0, final: 0 });
  expect(await run.exit).toMatchObject({ code: 9 });
  await keeper.link.closed;
});

describe('without koffi', () => {
  test('commands, streams, input and exits are the same; missing features are refused in a sentence', async () => {
    const keeper = await KeeperClient.start({ plain: true }, folder);
    const run = keeper.sh('cat; echo err > /dev/stderr; exit 6', { stdin: true });
    run.input(0, bytes('typed'));
    run.send({ type: 'EOS', stream: 0, final: 5 });
    expect(await run.exit).toMatchObject({ code: 6 });
    expect([await run.text(1), await run.text(2)]).toEqual(['typed', 'err\n']);
    expect(await keeper.sh('kill -9 $$').exit).toMatchObject({ signal: 'SIGKILL' });
    const hit = keeper.sh('sleep 100');
    await hit.wait('STARTED');
    await hit.operate({ type: 'SIGNAL', signal: 35, scope: 'group' });
    // Node has no name for it and reports code 0.
    const { code, ...exit } = await hit.exit;
    expect(code).toBe(undefined);
    expect(exit).toMatchObject({
      cause: 'lost',
      reason: expect.stringContaining('it got signal 35') as string,
    });
    expect(await keeper.exec('no-such-program').wait('REFUSED')).toMatchObject({ code: 'nofile' });
    const big = keeper.sh('head -c 5000000 /dev/zero');
    expect(await big.output(1)).toHaveLength(5_000_000);
    const terminal = keeper.sh('true', { pty: { cols: 80, rows: 24 } });
    expect((await terminal.wait('REFUSED')).message).toContain('needs koffi');
    for (const capture of ['exact', 'ordered'])
      expect((await keeper.sh('true', { capture }).wait('REFUSED')).message).toContain('needs koffi');
    await keeper.end();
  });
});
