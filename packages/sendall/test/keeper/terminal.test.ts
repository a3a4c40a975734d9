import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytes, KeeperClient, type Attached } from './keeper-client.js';
import { until } from '../../../../test/support/waits.js';

const PTY = 3;
let keeper: KeeperClient;
beforeAll(async () => {
  keeper = await KeeperClient.start();
});
afterAll(() => keeper[Symbol.asyncDispose]());

const pty = { cols: 80, rows: 24, term: 'xterm-256color' };
const screen = async (run: Attached): Promise<string> => (await run.read(PTY, 0, run.next(PTY))).toString();

describe('a terminal', () => {
  test('is the command’s controlling terminal, with size and TERM', async () => {
    const run = keeper.sh('tty; stty size; echo $TERM; ps -o tty= -p $$; exit 5', { pty, stdin: true });
    expect(await run.exit).toMatchObject({ code: 5 });
    const [tty, size, term, controlling] = (await run.text(PTY)).split('\r\n');
    expect(tty).toBe(`/dev/${controlling}`);
    expect([size, term]).toEqual(['24 80', 'xterm-256color']);
  });

  test('takes typed keys, is resized, and Ctrl-C interrupts', async () => {
    const run = keeper.open({ argv: [bytes('sh')], pty, stdin: true });
    await run.reaches(PTY, 1);
    await run.operate({ type: 'RESIZE', cols: 132, rows: 50 });
    // In a shell of its own, which has the foreground once it speaks. It ignores an interrupt while it waits for stty: only
    // what is printed behind that says that it waits no more.
    const typed = bytes("sh -c 'stty size; echo ready$((1 + 1)); exec sleep 300'\n");
    run.input(0, typed);
    await until(async () => /50 132\s+ready2/.test(await screen(run)), 'the new size');
    run.input(typed.length, bytes('\x03'));
    await until(async () => /\^C[\s\S]*# $|\^C[\s\S]*\$ $/.test(await screen(run)), 'a prompt');
    run.input(typed.length + 1, bytes('exit 7\n'));
    expect(await run.exit).toMatchObject({ code: 7 });
  });

  test('the end of the input is Ctrl-D', async () => {
    const run = keeper.open({ argv: [bytes('cat')], pty, stdin: true });
    run.input(0, bytes('typed\n'));
    run.send({ type: 'EOS', stream: 0, final: 6 });
    expect(await run.exit).toMatchObject({ code: 0 });
    expect(await run.text(PTY)).toContain('typed');
  });

  test('the end of the input ends an unfinished line, too', async () => {
    const run = keeper.open({ argv: [bytes('sh'), bytes('-c'), bytes('sleep 0.1; exec cat')], pty, stdin: true });
    run.input(0, bytes('typed'));
    run.send({ type: 'EOS', stream: 0, final: 5 });
    expect(await run.exit).toMatchObject({ code: 0 });
    expect(await run.text(PTY)).toBe('typedtyped');
  });

  test('loses no last words: 40 of 40 whole', async () => {
    for (let round = 0; round < 40; round++) {
      const run = keeper.sh('seq 1 5000', { pty });
      const text = await run.text(PTY);
      expect(text.endsWith('\r\n4999\r\n5000\r\n')).toBe(true);
      expect(await run.wait('EOS')).toMatchObject({ stream: PTY, final: text.length });
    }
  });

  test('with an attached user, no more is read than will soon be seen; left alone it goes on', async () => {
    const run = keeper.sh('head -c 4000000 /dev/zero | tr "\\0" x', { pty, stdin: true });
    const listed = async () => (await keeper.list()).find(({ runId }) => Buffer.from(runId).equals(run.runId));
    await until(async () => (await listed())?.blocked !== undefined, 'it to wait');
    expect(run.next(PTY)).toBeLessThan(300_000);
    run.send({ type: 'DETACH' });
    await until(async () => (await listed())?.state !== 'running', 'its end');
    expect((await listed())?.code).toBe(0);
  });

  test('whose reader has gone is closed immediately: its descriptor may become another terminal’s', async () => {
    const run = keeper.sh('trap "" HUP; sleep 100', { pty });
    await run.wait('STARTED');
    run.send({ type: 'STOP', stream: PTY });
    expect(await run.operate({ type: 'RESIZE', cols: 10, rows: 10 })).toMatchObject({ result: 'there is no terminal' });
    await run.operate({ type: 'CANCEL', graceMs: 0 });
  });

  test('whose reader has gone before the start hangs up, as one whose reader goes later', async () => {
    const run = keeper.sh('head -c 1000000 /dev/zero; sleep 300', { pty });
    run.send({ type: 'STOP', stream: PTY });
    expect(await run.exit).toMatchObject({ signal: 'SIGHUP' });
  });

  test('the stream ends although a daemon outlives the command', async () => {
    const run = keeper.sh('setsid sleep 0.2 < /dev/null > /dev/null 2>&1 & echo out', { pty });
    await run.exit;
    await run.wait('EOS');
    await run.wait('TREE_END');
  });
});

describe('the echo setting of a terminal', () => {
  const spec = { verb: 'sh', pty, stdin: true } as const;
  const isShown = (echo: boolean) => (message: { echo: boolean }) => message.echo === echo;
  const told = ({ messages }: Attached) =>
    messages.flatMap((message) => (message.type === 'ECHO' ? [[message.canonical, message.echo]] : []));

  test('is reported at first and whenever a program silently changes it', async () => {
    const script = bytes('stty -echo; read a; stty echo -icanon; read b; stty icanon');
    const run = keeper.open({ ...spec, script }, { echo: true });
    await run.wait('ECHO', isShown(false));
    run.input(0, bytes('a\n'));
    await run.wait('ECHO', ({ canonical, echo }) => echo && !canonical);
    run.input(2, bytes('b\n'));
    expect(await run.exit).toMatchObject({ code: 0 });
    expect(told(run).filter(([canonical]) => canonical)).toContainEqual([true, false]);
    expect(told(run)).toContainEqual([false, true]);
    // Each was reported once.
    const changes = told(run).map(String);
    expect(changes.filter((change, i) => change === changes[i - 1])).toEqual([]);
  });

  test('is reported only to callers that attach and ask', async () => {
    const run = keeper.open({
      ...spec,
      script: bytes('stty -echo; echo ready; read a; stty echo; echo again; read b'),
    });
    await until(async () => (await screen(run)).includes('ready'), 'the echo to be off');
    const asking = keeper.attach(run.runId, 'observe', { echo: true });
    expect(await asking.wait('ECHO')).toMatchObject({ canonical: true, echo: false });
    const silent = keeper.attach(run.runId, 'observe');
    run.input(0, bytes('a\n'));
    await asking.wait('ECHO', isShown(true));
    run.input(2, bytes('b\n'));
    for (const each of [run, silent, asking]) await each.exit;
    expect(told(run)).toEqual([]);
    expect(told(silent)).toEqual([]);
    expect(told(asking)).toEqual([
      [true, false],
      [true, true],
    ]);
  });

  test('is not reported for a command without a terminal', async () => {
    const run = keeper.open({ verb: 'sh', script: bytes('read a'), stdin: true }, { echo: true });
    run.input(0, bytes('a\n'));
    await run.exit;
    expect(run.types).not.toContain('ECHO');
  });
});
