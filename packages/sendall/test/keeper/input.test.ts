import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { InputWindow } from '../../dist/keeper/run/input-window.js';
import { CreditPool } from '../../dist/protocol/flow.js';
import { Input } from '../../dist/keeper/run/input.js';
import type { Native } from '../../dist/keeper/system/native.js';
import { bytes, KeeperClient, type Attached } from './keeper-client.js';

let keeper: KeeperClient;
beforeAll(async () => {
  keeper = await KeeperClient.start();
});
afterAll(() => keeper[Symbol.asyncDispose]());

const cat = (): Attached => keeper.open({ argv: [bytes('cat')], stdin: true });
const sum = (data: Uint8Array): string => createHash('md5').update(data).digest('hex');

/** Sends everything within the granted credit, `piece` bytes at a time, then the end. */
async function feed(run: Attached, data: Buffer, piece = 64 * 1024): Promise<void> {
  let limit = keeper.link.window;
  for (let sent = 0; sent < data.length;) {
    if (sent >= limit) limit = (await run.wait('CREDIT', (credit) => credit.limit > sent)).limit;
    const n = Math.min(piece, limit - sent, data.length - sent);
    run.input(sent, data.subarray(sent, sent + n));
    sent += n;
  }
  run.send({ type: 'EOS', stream: 0, final: data.length });
}

test('the end of a terminal’s input waits for room, like bytes', () => {
  let room = 3;
  let written = '';
  let closed = false;
  let roomAgain = () => {};
  const full = {
    write(_fd: number, data: Uint8Array) {
      const piece = data.subarray(0, room);
      room -= piece.length;
      written += Buffer.from(piece).toString();
      return piece.length || -1;
    },
    watch(_fd: number, _for: string, ready: () => void) {
      roomAgain = ready;
      return { close() {} };
    },
    close() {
      closed = true;
    },
  };
  const input = new Input(full as unknown as Native, new InputWindow(100, 100, new CreditPool(0)), {
    moved() {},
    refused() {},
  });
  input.start(5, true);
  input.take(0, bytes('ab\n'));
  input.end(3);
  expect([written, closed]).toEqual(['ab\n', false]);
  room = 1;
  roomAgain();
  expect([written, closed]).toEqual(['ab\n\u0004', true]);
});

describe('the window of stdin', () => {
  const window = 64 * 1024;

  test('grows while the command keeps up, to its largest, and from the share of all runs', () => {
    const share = new CreditPool(3 * window);
    const [one, other] = [new InputWindow(window, 4 * window, share), new InputWindow(window, 4 * window, share)];
    for (let written = 0; written < 100 * window; written += window) one.keptUp(written);
    expect(one.size).toBe(4 * window);
    for (let written = 0; written < 100 * window; written += window) other.keptUp(written);
    expect(other.size).toBe(window);
    one.release();
    one.release();
    for (let written = 100 * window; written < 200 * window; written += window) other.keptUp(written);
    expect(other.size).toBe(4 * window);
  });

  test('does not grow for a few bytes', () => {
    const one = new InputWindow(window, 4 * window, new CreditPool(3 * window));
    for (let written = 0; written < window; written++) one.keptUp(written);
    expect(one.size).toBe(window);
  });

  test('a command that never reads makes the keeper hold no more than pipe and first window', async () => {
    const run = keeper.sh('sleep 600', { stdin: true });
    let [sent, limit] = [0, keeper.link.window];
    const piece = Buffer.alloc(64 * 1024);
    // A pipe of at most 1 MiB, and the bytes that wait for it.
    const most = 1024 * 1024 + 2 * 1024 * 1024;
    for (;;) {
      while (sent + piece.length <= limit) {
        run.input(sent, piece);
        sent += piece.length;
      }
      await run.wait('ACK', ({ durable }) => durable === sent);
      const more = Math.max(limit, ...run.messages.map((each) => (each.type === 'CREDIT' ? each.limit : 0)));
      if (more === limit) break;
      limit = more;
    }
    expect(limit).toBeLessThanOrEqual(most);
    await run.operate({ type: 'CANCEL', graceMs: 0 });
    await run.exit;
  });
});

describe('stdin', () => {
  test('every byte arrives, in pieces of any size', async () => {
    const data = randomBytes(3_000_000);
    for (const piece of [65_536, 1000, 7777]) {
      const run = keeper.open({ argv: [bytes('md5sum')], stdin: true });
      await feed(run, data, piece);
      expect(await run.text()).toBe(`${sum(data)}  -\n`);
    }
  });

  test('without one the command reads end-of-file at once', async () => {
    expect(await keeper.exec('wc', '-c').text()).toBe('0\n');
  });

  test('the end takes effect only after all earlier bytes, even if announced first', async () => {
    const run = cat();
    run.send({ type: 'EOS', stream: 0, final: 6 });
    run.input(0, bytes('abc'));
    await run.reaches(1, 3);
    expect(run.find('EXIT')).toBeUndefined();
    run.input(3, bytes('def'));
    expect(await run.text()).toBe('abcdef');
  });

  test('bytes before the start wait for it', async () => {
    await using small = await KeeperClient.start({ limits: { maxRunning: 1 } });
    const first = small.sh('sleep 0.1');
    const run = small.open({ argv: [bytes('cat')], stdin: true });
    run.input(0, bytes('early'));
    run.send({ type: 'EOS', stream: 0, final: 5 });
    await first.exit;
    expect(await run.text()).toBe('early');
  });

  test('that arrives after the run’s end is dropped, and harms no other run', async () => {
    const other = cat();
    const run = keeper.open({ argv: [bytes('true')], stdin: true });
    run.input(0, Buffer.alloc(65_536));
    await run.wait('TREE_END');
    await run.wait('EOS', ({ stream }) => stream === 1);
    await run.wait('EOS', ({ stream }) => stream === 2);
    run.input(65_536, Buffer.alloc(65_536));
    run.send({ type: 'EOS', stream: 0, final: 131_072 });
    other.input(0, bytes('unharmed'));
    other.send({ type: 'EOS', stream: 0, final: 8 });
    expect(await other.text()).toBe('unharmed');
  });

  test('repeated bytes are taken once', async () => {
    const run = cat();
    run.input(0, bytes('abcd'));
    run.input(2, bytes('cdef'));
    run.input(0, bytes('ab'));
    run.send({ type: 'EOS', stream: 0, final: 6 });
    expect(await run.text()).toBe('abcdef');
  });

  test('it is acknowledged when taken, and credit follows the command’s reading', async () => {
    const run = keeper.sh('sleep 0.2; cat > /dev/null', { stdin: true });
    const data = Buffer.alloc(keeper.link.window);
    for (let at = 0; at < data.length; at += 65_536) run.input(at, data.subarray(at, at + 65_536));
    await run.wait('ACK', ({ durable }) => durable === data.length);
    await run.wait('CREDIT', ({ limit }) => limit >= 2 * data.length);
    run.send({ type: 'EOS', stream: 0, final: data.length });
    await run.wait('ACK', ({ ended }) => ended === true);
    expect(await run.exit).toMatchObject({ code: 0 });
  });

  test('a command that closes it is no error: the rest is taken and dropped', async () => {
    const script = 'trap "exit 0" USR1; exec <&-; echo closed; while :; do sleep 0.01; done';
    const run = keeper.sh(script, { stdin: true });
    await run.reaches(1, 7);
    run.input(0, Buffer.alloc(200_000));
    await run.wait('STOP');
    await run.wait('ACK', ({ durable }) => durable === 200_000);
    await run.operate({ type: 'SIGNAL', signal: 10, scope: 'leader' });
    expect(await run.exit).toMatchObject({ code: 0 });
  });

  test('a leaving caller is no end-of-file: the next one continues at the next byte', async () => {
    const run = cat();
    run.input(0, bytes('first '));
    await run.reaches(1, 6);
    run.send({ type: 'DETACH' });
    const next = keeper.attach(run.runId, 'control');
    const { streams } = await next.wait('ATTACHED');
    expect(streams.find(({ stream }) => stream === 0)).toMatchObject({ next: 6 });
    next.input(6, bytes('second'));
    next.send({ type: 'EOS', stream: 0, final: 12 });
    expect(await next.text()).toBe('first second');
  });

  test('if its caller never returns, the command is ended after keepMs', async () => {
    const run = keeper.open({ argv: [bytes('cat')], stdin: true, keepMs: 100 });
    await run.wait('STARTED');
    run.send({ type: 'DETACH' });
    const watcher = keeper.attach(run.runId);
    expect(await watcher.exit).toMatchObject({ cause: 'cancelled', signal: 'SIGTERM' });
  });
});

describe('stdin that breaks the protocol ends that attachment and nothing else', () => {
  test.each([
    ['a hole', (run: Attached) => run.input(5, bytes('x'))],
    ['more than the credit', (run: Attached) => run.input(0, Buffer.alloc(keeper.link.window + 1))],
    [
      'an end before what has come',
      (run: Attached) => (run.input(0, bytes('abc')), run.send({ type: 'EOS', stream: 0, final: 2 })),
    ],
    ['another stream', (run: Attached) => run.send({ type: 'EOS', stream: 1, final: 0 })],
  ])('%s', async (_, attack) => {
    const bystander = keeper.sh('sleep 100');
    const { pid } = await bystander.wait('STARTED');
    const run = cat();
    attack(run);
    expect(await run.wait('ATTACH_REFUSED')).toMatchObject({ code: 'protocol', runId: run.runId });
    expect((await keeper.list()).find((info) => info.pid === pid)).toMatchObject({ state: 'running' });
    await bystander.operate({ type: 'CANCEL', graceMs: 0 });
    await keeper.attach(run.runId, 'control').operate({ type: 'CANCEL', graceMs: 0 });
  });
});
