/** The effect of signals on wirelab. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { within } from '../../../test/support/waits.js';
import { bin, finished, portOf, Program, wirelab } from './programs.js';

/** Shell text in which `$WIRELAB` is the program as installed: started through its first line, on this Node. */
function inShell(text: string, ...words: string[]): Program {
  const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}`, WIRELAB: bin };
  return new Program('sh', ['-c', `${text}; exec "$WIRELAB" "$@"`, 'sh', ...words], { env });
}

/** How a program ends: its code, or its signal. */
const endOf = async ({ child, ended }: Program) => {
  const code = await within(ended, 'the end of the program');
  return code ?? child.signalCode;
};

const SERVERS: readonly string[][] = [
  ['serve', 'recv'],
  ['chat', 'serve', '--port', '0'],
  ['chaos', '--listen', '0', '--to', '127.0.0.1:1'],
  ['inspect', '--listen', '0', '--to', '127.0.0.1:1', '--framing', 'raw'],
  ['page'],
];
/** The page prints a URL. */
const portIn = async (program: Program) => Number((await program.says(/listening \S*127\.0\.0\.1:(\d+)/))[1]);

/** A server listens at this port. A proxy whose server is away may reset the connection before this process sees it. */
async function isAnswered(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  try {
    await within(once(socket, 'connect'), 'a connection');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
  } finally {
    socket.destroy();
  }
}

describe.each(SERVERS)('%s %s', (...words) => {
  test('goes on at signals that were ignored at its start', async () => {
    await using server = inShell("trap '' HUP INT TERM QUIT", ...words);
    const port = await portIn(server);
    for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGQUIT'] as const) {
      server.child.kill(signal);
      await isAnswered(port);
    }
    expect(server.child.exitCode ?? server.child.signalCode).toBe(null);
  });

  test.each([
    ['SIGTERM', 0],
    ['SIGINT', 0],
    ['SIGHUP', 129],
  ] as const)('is stopped by %s and ends with %s', async (signal, code) => {
    await using server = wirelab(...words);
    await portIn(server);
    server.child.kill(signal);
    expect(await endOf(server)).toBe(code);
  });
});

describe('a command ended by a signal', () => {
  test.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGHUP', 129],
  ] as const)('never ends with 0: %s', async (signal, code) => {
    await using server = wirelab('chat', 'serve', '--port', '0');
    await using client = wirelab('chat', `127.0.0.1:${await portOf(server)}`);
    await server.says(/c1 joined/);
    client.write('hello\n');
    await server.says(/c1: hello/);
    client.child.kill(signal);
    expect(await endOf(client)).toBe(code);
    await using commands = wirelab('serve', 'recv');
    await using call = wirelab('call', 'recv', `127.0.0.1:${await portOf(commands)}`, 'echo go; exec sleep 60');
    await call.says(/go/);
    call.child.kill(signal);
    expect(await endOf(call)).toBe(signal);
  });

  test('goes on when that signal was ignored, and ends by itself', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'wirelab-signals-'));
    await using server = wirelab('serve', 'struct-i');
    const command = `until [ -e ${folder}/flag ]; do sleep 0.02; done; echo two`;
    await using call = inShell("trap '' INT HUP", 'call', 'struct-i', `127.0.0.1:${await portOf(server)}`, command);
    await server.says(/runs: until/);
    call.child.kill('SIGINT');
    call.child.kill('SIGHUP');
    writeFileSync(join(folder, 'flag'), '');
    expect(await endOf(call)).toBe(0);
    expect(call.stdout).toBe('two\n');
    rmSync(folder, { recursive: true });
  });
});

test('the commands of serve get every signal as usual, and inherit nothing of its start', async () => {
  await using server = inShell("trap '' HUP INT TERM", 'serve', 'struct-i');
  const look = 'grep SigIgn /proc/self/status; env';
  const { stdout } = await finished(wirelab('call', 'struct-i', `127.0.0.1:${await portOf(server)}`, look));
  expect(stdout).toMatch(/^SigIgn:\t0+$/m);
  expect(stdout).not.toContain('SENDALL_START');
});

test.each([
  ['exec >&-', 'it is closed'],
  ['exec > /dev/full', 'ENOSPC'],
])('output that stdout rejects is a failure: %s', async (text, reason) => {
  for (const words of [['show', 'empty', '--json'], ['--version'], ['probe', '--help']]) {
    const { code, stderr } = await finished(inShell(text, ...words));
    expect([code, stderr]).toEqual([206, `wirelab: the output cannot be written: ${reason}\n`]);
  }
});

test('messages that stderr rejects stop no server', async () => {
  await using server = inShell('exec 2> /dev/full', 'serve', 'struct-i');
  const call = wirelab('call', 'struct-i', `127.0.0.1:${await portOf(server)}`, 'echo one');
  expect((await finished(call)).stdout).toBe('one\n');
});

test.each([15, 19, 20, 24, 30])('with %s open files it works, or is one sentence', async (files) => {
  const { code, stdout, stderr } = await finished(inShell(`ulimit -n ${files}`, 'show', 'empty', '--json'));
  if (code === 0) expect(stdout).toContain('"phenomenon":"empty"');
  else expect(stderr).toMatch(/^wirelab: .*ulimit -n 1024.*\n$/);
});
