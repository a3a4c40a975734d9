/** `sendall-ssh -W`: connections from a host, alone and as ssh's ProxyCommand. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { userInfo } from 'node:os';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { rootDescribe } from '../../../../test/support/root.js';
import { patience, until, within } from '../../../../test/support/waits.js';
import { ended, Site } from '../install/site.js';
import { Machine, type User } from './support.js';

const SENDALL_SSH = fileURLToPath(new URL('../../bin/sendall-ssh.js', import.meta.url));

let machine: Machine;
let user: User;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.pairedUser('web1');
});
afterAll(async () => {
  user[Symbol.dispose]();
  await machine[Symbol.asyncDispose]();
});

const start = (...words: string[]) => spawn(SENDALL_SSH, words, { env: user.env(), stdio: ['pipe', 'pipe', 'pipe'] });

/** A server on this machine, and its first connection. */
async function serve(): Promise<{ port: number; connected: Promise<Socket> }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const connected = once(server, 'connection').then(([socket]) => socket as Socket);
  return { port: (server.address() as AddressInfo).port, connected };
}

test('bytes go both ways, and each end by itself', async () => {
  const { port, connected } = await serve();
  const child = start('-W', `127.0.0.1:${port}`, 'web1');
  const question = Buffer.alloc(2_000_000, 'question');
  child.stdin.end(question);
  const socket = await within(connected, 'the connection');
  const heard: Buffer[] = [];
  for await (const piece of socket) heard.push(piece as Buffer);
  expect(Buffer.concat(heard).equals(question)).toBe(true);
});

test('the answer comes after our end, and the code is 0 when both have ended', async () => {
  const { port, connected } = await serve();
  const child = start('-W', `127.0.0.1:${port}`, 'web1');
  const said = text(child.stdout);
  const socket = await within(connected, 'the connection');
  child.stdin.end('question');
  socket.resume();
  await once(socket, 'end');
  socket.end('answer');
  expect(await said).toBe('answer');
  expect(await once(child, 'close')).toEqual([0, null]);
});

test('without a connection it says why, and ends with 255', () => {
  const call = (...words: string[]) => {
    const { status, stdout, stderr } = spawnSync(SENDALL_SSH, words, {
      env: user.env(),
      input: '',
      timeout: patience(20_000),
    });
    return [status, stdout.toString(), stderr.toString()];
  };
  expect(call('-W', '127.0.0.1:9', 'web1')).toEqual([255, '', '127.0.0.1:9 refused the connection (ECONNREFUSED)\n']);
  expect(call('-n', '-W', 'nonsense', 'web1')).toEqual([255, '', expect.stringContaining('is not HOST:PORT')]);
});

test('the far end goes with us', async () => {
  const { port, connected } = await serve();
  const child = start('-W', `127.0.0.1:${port}`, 'web1');
  const socket = await within(connected, 'the connection');
  socket.on('error', () => undefined).resume();
  // A reset closes it as well.
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  // Half open: only the end of the program closes it.
  socket.on('end', () => socket.end());
  child.kill('SIGKILL');
  await within(closed, 'the end of the connection');
});

rootDescribe('ssh behind a host', () => {
  let site: Site;
  beforeAll(async () => {
    site = await Site.start({ inner: { user: userInfo().username } });
  });
  afterAll(async () => await site[Symbol.asyncDispose]());

  /** The system's ssh to a server that it reaches from web1. */
  const inner = (...words: string[]) => {
    const [program, ...options] = site.ssh.split(' ');
    const proxy = ['-o', `ProxyCommand=${SENDALL_SSH} -W %h:%p web1`];
    return spawn(program!, [...options, ...proxy, 'inner', ...words], {
      env: user.env(),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  };

  test('works as through a jump host', async () => {
    const child = inner('cat; exit 3');
    child.stdin.end('through two machines');
    expect(await ended(child)).toEqual({ code: 3, stdout: 'through two machines', stderr: '' });
  });

  test('goes on when the agent between is killed and starts again', async () => {
    const child = inner('echo up; cat');
    const all = ended(child);
    let heard = '';
    child.stdout.on('data', (piece: Buffer) => (heard += piece.toString()));
    await until(() => heard.includes('up'), 'the session');
    await machine.killAgent();
    await machine.startAgent('--listen', machine.url);
    child.stdin.end('after it');
    expect(await all).toEqual({ code: 0, stdout: 'up\nafter it', stderr: '' });
  });
});
