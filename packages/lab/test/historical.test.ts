/** The historical protocols, with the tutorial's Python programs on the other side. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { serveCommands, type CommandEvent } from '@sendall/lab';
import { bin, finished, portOf, Program, python, soon, wirelab } from './programs.js';
import { rootDescribe, rootTest } from '../../../test/support/root.js';
import { until } from '../../../test/support/waits.js';

const streams = ['recv', 'length-ready', 'struct-i'] as const;
const all = [...streams, 'udp'] as const;
const inPython = (name: string) => name.replaceAll('-', '_');

/** The answers a Python client received. */
const answers = (stdout: string) => stdout.split('\n--\n').slice(0, -1);

/** Sends bytes to a server and waits for its end; returns its output. */
async function exchange(port: number, ...pieces: (string | Buffer)[]): Promise<Buffer> {
  const socket = connect(port, '127.0.0.1');
  const heard: Buffer[] = [];
  socket.on('data', (bytes: Buffer) => heard.push(bytes)).on('error', () => {});
  await once(socket, 'connect');
  for (const piece of pieces) socket.write(piece);
  // A reset is an end as well.
  await until(() => socket.closed, 'the end of the connection');
  return Buffer.concat(heard);
}

describe.each(all)('the tutorial’s %s', (name) => {
  it('answers a Python client', async () => {
    await using server = wirelab('serve', name);
    const port = await portOf(server);
    const client = await finished(python(`${inPython(name)}_client`, port, 'echo one', 'echo two; echo three'));
    const [first, ...rest] = answers(client.stdout);
    expect(first).toBe('one\n');
    if (name === 'recv') {
      // The chapter's own lesson: without a framing an answer is what one read brings, and the rest comes later or never.
      expect(rest).toHaveLength(1);
      expect(['two\n', 'two\nthree\n']).toContain(rest[0]);
    } else expect(rest).toEqual(['two\nthree\n']);
    expect(server.stderr).toContain('warning');
  });

  it('answers our client when Python serves', async () => {
    await using server = python(`${inPython(name)}_server`);
    const port = await portOf(server);
    const client = await finished(wirelab('call', name, `127.0.0.1:${port}`, 'echo one', 'echo 二'));
    expect(client).toMatchObject({ code: 0, stdout: 'one\n二\n' });
  });

  it('brings stdout and stderr both, in their order', async () => {
    await using server = wirelab('serve', name);
    const target = `127.0.0.1:${await portOf(server)}`;
    const client = await finished(wirelab('call', name, target, 'echo a; echo b >&2; echo c > /dev/stderr; echo d'));
    expect(client.stdout).toBe('a\nb\nc\nd\n');
  });
});

async function ask(program: Program, protocol: string, ...words: string[]): Promise<string> {
  return (await finished(wirelab('call', protocol, `127.0.0.1:${await portOf(program)}`, ...words))).stdout;
}

describe('the differences between them', () => {
  it.each(['recv', 'length-ready', 'udp'])('%s says 执行成功 in GBK when a command said nothing', async (name) => {
    await using server = wirelab('serve', name);
    const port = await portOf(server);
    const client = await finished(
      new Program('python3', [
        '-c',
        `import subprocess,sys; out=subprocess.run(sys.argv[1:],capture_output=True).stdout; print(out.hex())`,
        'python3',
        fileURLToPath(new URL('./python/peers.py', import.meta.url)),
        `${inPython(name)}_client`,
        port,
        'true',
      ]),
    );
    expect(client.stdout).toContain('d6b4d0d0b3c9b9a6');
    expect((await finished(wirelab('call', name, `127.0.0.1:${port}`, 'true'))).stdout).toBe('执行成功');
  });

  it('struct-i answers nothing with length 0', async () => {
    await using server = await serveCommands({ protocol: 'struct-i' });
    const socket = connect(server.port, '127.0.0.1');
    socket.write('true');
    const [header] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    expect(header.toString('hex')).toBe('00000000');
  });

  it('--encoding utf-8 answers in UTF-8, --encoding gbk converts command output', async () => {
    await using utf8 = wirelab('serve', 'length-ready', '--encoding', 'utf-8');
    await using gbk = wirelab('serve', 'length-ready', '--encoding', 'gbk');
    expect(await ask(utf8, 'length-ready', '--encoding', 'utf-8', 'true')).toBe('执行成功');
    expect(await ask(gbk, 'length-ready', '--encoding', 'gbk', 'echo 你好，世界')).toBe('你好，世界\n');
    expect(await ask(gbk, 'length-ready', '--encoding', 'gbk', String.raw`printf '\326\320\316\304'`)).toBe('中文');
  });

  it('a datagram reports an answer that did not fit', async () => {
    await using server = wirelab('serve', 'udp');
    const { stdout } = await finished(wirelab('call', 'udp', `127.0.0.1:${await portOf(server)}`, 'seq 1 100000'));
    expect(stdout.length).toBe(65_507);
    expect(stdout).toMatch(/^1\n2\n/);
    expect(stdout).toMatch(/cut, the answer has 588895 bytes and a datagram holds 65507\n$/);
  });

  it('reports a datagram without an answer, and exits with 1', async () => {
    await using server = wirelab('serve', 'udp');
    const target = `127.0.0.1:${await portOf(server)}`;
    const client = await finished(wirelab('call', 'udp', target, '--timeout', '0.3', 'sleep 30'));
    expect(client.code).toBe(1);
    expect(client.stderr).toContain('no answer');
  });
});

describe('the known faults are gone', () => {
  it.each(streams)('%s: 3 MB of output arrive whole, also with a full stderr', async (name) => {
    await using server = wirelab('serve', name);
    const command = 'head -c 3000000 /dev/zero | tr "\\0" x; head -c 200000 /dev/zero | tr "\\0" e >&2';
    const { stdout } = await finished(wirelab('call', name, `127.0.0.1:${await portOf(server)}`, command));
    expect(stdout.length).toBe(3_200_000);
    expect(stdout).toMatch(/^x+e+$/);
  });

  it.each(streams)('%s: a command of 60,000 bytes is one command', async (name) => {
    await using server = wirelab('serve', name);
    const text = 'a'.repeat(60_000);
    const { stdout } = await finished(
      wirelab('call', name, `127.0.0.1:${await portOf(server)}`, `printf %s ${text} | wc -c`),
    );
    expect(stdout.trim()).toBe('60000');
  });

  it('no part of a command above 64 KiB is run', async () => {
    const events: CommandEvent[] = [];
    await using server = await serveCommands({ protocol: 'struct-i', onEvent: (event) => events.push(event) });
    await exchange(server.port, Buffer.alloc(70_000, 'a'));
    expect(events.map((event) => event.type)).not.toContain('command');
    expect(events.map((event) => event.type)).toContain('refused');
  });

  it.each(streams)('%s serves several clients at once', async (name) => {
    await using server = await serveCommands({ protocol: name });
    const blocker = connect(server.port, '127.0.0.1');
    await once(blocker, 'connect');
    blocker.write('sleep 60');
    const { stdout } = await finished(wirelab('call', name, `127.0.0.1:${server.port}`, 'echo free'));
    blocker.destroy();
    expect(stdout).toBe('free\n');
  });

  it('an answer is whole, however late the system copies it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'wirelab-late-'));
    // It begins when the command has ended long ago.
    writeFileSync(join(folder, 'cat'), '#!/bin/sh\nsleep 1.5\nexec /bin/cat "$@"\n', { mode: 0o755 });
    const env = { ...process.env, PATH: `${folder}:${process.env['PATH']}` };
    await using server = new Program(process.execPath, [bin, 'serve', 'struct-i'], { env });
    expect(await ask(server, 'struct-i', 'echo whole; echo there >&2')).toBe('whole\nthere\n');
    rmSync(folder, { recursive: true });
  });

  it('a child left in the background does not hold the answer back', async () => {
    await using server = await serveCommands({ protocol: 'struct-i' });
    const { stdout } = await finished(wirelab('call', 'struct-i', `127.0.0.1:${server.port}`, 'sleep 30 & echo done'));
    expect(stdout).toBe('done\n');
  });

  it('a "ready" in two pieces is still one, and bytes after it are the next command', async () => {
    await using server = await serveCommands({ protocol: 'length-ready' });
    const socket = connect({ port: server.port, host: '127.0.0.1', noDelay: true });
    const next = async () => ((await once(socket, 'data')) as [Buffer])[0].toString();
    socket.write('echo one');
    expect(await next()).toBe('4');
    socket.write('rea');
    await new Promise((resolve) => setTimeout(resolve, 30));
    socket.write('dyecho three');
    expect(await next()).toMatch(/^one\n/);
    socket.destroy();
  });
});

describe('access to commands', () => {
  const requests: [string, string | Buffer][] = [
    ['an HTTP request', 'GET /?x=`touch${IFS}/tmp/x` HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a POST whose body is a command', 'POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nid\n'],
    ['a method that a page made up', 'id / HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['the beginning of a method', 'PO'],
    ['a TLS record', Buffer.from('16030100050100000100', 'hex')],
    ['a NUL', 'echo a\0b'],
    ['bytes that are not UTF-8', Buffer.from('ff80', 'hex')],
  ];
  it.each(requests)('not %s: the connection is closed', async (_, request) => {
    const events: CommandEvent[] = [];
    await using server = await serveCommands({ protocol: 'recv', onEvent: (event) => events.push(event) });
    expect(await exchange(server.port, request)).toHaveLength(0);
    expect(events.map((event) => event.type)).toContain('refused');
    expect(events.map((event) => event.type)).not.toContain('command');
  });

  it('a datagram that a browser could send is not answered', async () => {
    const events: CommandEvent[] = [];
    await using server = await serveCommands({ protocol: 'udp', onEvent: (event) => events.push(event) });
    const client = await finished(
      wirelab('call', 'udp', `127.0.0.1:${server.port}`, '--timeout', '0.3', 'GET / HTTP/1.1'),
    );
    expect(client.code).toBe(1);
    await soon(() => events.map((event) => event.type)).toEqual(['refused']);
  });

  rootTest('not another user: neither over TCP nor over UDP', async () => {
    const nobody = 65_534;
    const events: CommandEvent[] = [];
    const onEvent = (event: CommandEvent) => events.push(event);
    await using tcp = await serveCommands({ protocol: 'recv', onEvent });
    await using udp = await serveCommands({ protocol: 'udp', onEvent });
    const script = `exec 3<>/dev/tcp/127.0.0.1/${tcp.port}; printf 'echo run' >&3; timeout 2 cat <&3
      exec 4<>/dev/udp/127.0.0.1/${udp.port}; printf 'echo run' >&4; timeout 0.5 cat <&4`;
    await using stranger = new Program('/bin/bash', ['-c', script], { uid: nobody });
    await stranger.ended;
    expect(stranger.stdout).toBe('');
    await soon(() => events.map((event) => event.type)).toEqual(['refused', 'refused']);
  });
});

// Another user sends from a port shared with a socket of this user, and closes it before the server can look.
rootDescribe('a datagram of another user is not run', () => {
  const nobody = 65_534;
  const ours = (code: string) =>
    `import socket,sys\ns=${code}\nprint('bound', s.getsockname()[1], flush=True)\nsys.stdin.read()`;
  const reused = `socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.bind(('0.0.0.0',0))`;
  const onlyV6 = `socket.socket(socket.AF_INET6,socket.SOCK_DGRAM); s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_V6ONLY,1); s.bind(('::',0))`;
  const send = (address: string, tail: string) => `import socket,sys,time
for i in range(10):
  s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
  s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
  s.bind(('${address}',int(sys.argv[2])))
  s.sendto(b'echo run',('127.0.0.1',int(sys.argv[1])))
  ${tail}
print('sent', flush=True)`;

  it.each([
    ['that shares its port and is gone', reused, send('127.0.0.1', 's.close()')],
    ['beside a socket for IPv6 alone', onlyV6, send('127.0.0.1', 's.close()')],
    ['from another address of this machine', reused, send('127.0.0.2', 's.close()')],
    [
      'that comes and goes, and shares no longer when it has its port',
      reused,
      send('127.0.0.1', 's.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,0); time.sleep(i/2000); s.close()'),
    ],
    ['that stays', onlyV6, send('127.0.0.1', 'time.sleep(0.05)')],
  ])('%s', async (_name, victim, stranger) => {
    const events: CommandEvent[] = [];
    await using server = await serveCommands({ protocol: 'udp', onEvent: (event) => events.push(event) });
    await using owner = new Program('python3', ['-c', ours(victim)]);
    const port = (await owner.says(/bound (\d+)/))[1]!;
    await using other = new Program('python3', ['-c', stranger, String(server.port), port], { uid: nobody });
    await other.says(/sent/);
    await soon(() => events.length).toBe(10);
    expect(new Set(events.map((event) => event.type))).toEqual(new Set(['refused']));
  });
});

describe('call', () => {
  it('takes commands from the lines of stdin, leaves at quit, sends no empty line', async () => {
    await using server = wirelab('serve', 'length-ready');
    await using client = wirelab('call', 'length-ready', `127.0.0.1:${await portOf(server)}`);
    client.write('echo one\n\n');
    await client.says(/one/);
    client.write('echo two\nquit\necho three\n');
    client.end();
    expect(await client.ended).toBe(0);
    expect(client.stdout).toBe('one\ntwo\n');
    expect(server.stderr).not.toContain('three');
  });

  it('prints exactly the answer’s bytes when there is one command', async () => {
    await using server = wirelab('serve', 'struct-i');
    const { stdout } = await finished(wirelab('call', 'struct-i', `127.0.0.1:${await portOf(server)}`, 'printf abc'));
    expect(stdout).toBe('abc');
  });

  it('reports in one sentence that no server answers', async () => {
    const { code, stderr } = await finished(wirelab('call', 'recv', '127.0.0.1:1', 'ls'));
    expect(code).toBe(201);
    expect(stderr).toBe('wirelab: cannot reach 127.0.0.1:1: ECONNREFUSED\n');
  });
});
