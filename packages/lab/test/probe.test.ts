/** wirelab probe, against servers that break on cuts and servers that do not. */
import { createServer, Socket, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { MessageRequestHandler, serve } from '@sendall/socketserver';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { probe } from '@sendall/lab';
import { Talk } from '../dist/probe/talk.js';
import { finished, portOf, python, wirelab } from './programs.js';
import { until } from '../../../test/support/waits.js';

/** For servers that answer everything. */
const PATIENT = ['--timeout', '20000'];

const hex = (text: string) => Buffer.from(text).toString('hex');

class Echo extends MessageRequestHandler {
  static override readonly framing = 'u32be';
  override onMessage(message: Buffer): void {
    this.send(message);
  }
}

async function listening(handle: (socket: Socket) => void) {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => {});
    handle(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: { host: '127.0.0.1', port: (server.address() as AddressInfo).port },
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}

/**
 * Greets (immediately, late, or in two lines), answers each read and drops everything after its first line. Late is behind
 * the first answer, or for a client that is silent: after a while.
 */
const greets = (lines: string[], afterMs: number, forgets: boolean) => (socket: Socket) => {
  let hasGreeted = false;
  const greet = () => {
    if (!hasGreeted) lines.forEach((line) => socket.write(line));
    hasGreeted = true;
  };
  if (afterMs > 0) setTimeout(greet, afterMs);
  else greet();
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk.toString();
    const whole = text.split('\n').length - 1;
    if (whole === 0) return;
    text = forgets ? '' : text.slice(text.lastIndexOf('\n') + 1);
    socket.write('250 ok\r\n'.repeat(forgets ? 1 : whole));
    greet();
  });
};

// Finding a fault is mostly waiting for answers that do not come, so these wait together.
describe.concurrent('wirelab probe', () => {
  it('finds a server that needs the whole header in one read, and hangs', async () => {
    await using server = await listening((socket) => {
      socket.on('data', (chunk) => {
        if (chunk.length < 4) return; // loses the beginning of a header that came alone
        socket.write(chunk);
      });
    });
    const report = await probe({
      address: server.address,
      framing: 'u32be',
      requests: [Buffer.from('00000001ff', 'hex')],
    });
    expect(report.minimal?.plan.cuts).toHaveLength(1);
    expect(['hang', 'changed']).toContain(report.minimal?.verdict);
  });

  it('finds a server that drops bytes glued to the first message', async () => {
    await using server = await listening((socket) => {
      let held = Buffer.alloc(0);
      socket.on('data', (chunk) => {
        held = Buffer.concat([held, chunk]);
        if (held.length < 9) return;
        socket.write(held.subarray(0, 9));
        held = Buffer.alloc(0);
      });
    });
    const report = await probe({
      address: server.address,
      framing: 'u32be',
      requests: [Buffer.from('hello')],
      timeoutMs: 500,
    });
    expect(report.framed).toBe(true);
    const failed = report.cases.filter((each) => each.verdict !== 'same').map((each) => each.family);
    expect(failed).toContain('glued');
    expect(failed).not.toContain('split at every offset');
    expect(report.minimal?.plan.copies).toBe(2);
  });

  it.each([
    ['a line', ['220 hello\r\n'], 0],
    ['two lines', ['220-hello\r\n', '220 there\r\n'], 0],
    // For a silent client later than the probe waits at first, which is 150 ms.
    ['a line that comes late', ['220 hello\r\n'], 225],
  ])('finds the same fault behind a greeting: %s', async (_name, lines, afterMs) => {
    await using server = await listening(greets(lines, afterMs, true));
    const options = { address: server.address, framing: 'crlf', requests: [Buffer.from('NOOP\r\n')], timeoutMs: 1000 };
    const report = await probe(options);
    expect(report.greeting).toHaveLength(lines.length);
    expect(report.repeatable).toBe(true);
    const failed = new Set(report.cases.filter((each) => each.verdict !== 'same').map((each) => each.family));
    expect(failed).toContain('glued');
    expect(failed).not.toContain('split at every offset');
  });
});

describe('the pieces of a request', () => {
  it('are read one by one by a server of this process, though it stands still in between', async () => {
    const seen: string[] = [];
    await using server = await listening((socket) => void socket.on('data', (chunk) => seen.push(chunk.toString())));
    const talk = await Talk.open(server.address, 'raw');
    const write = Reflect.get(Socket.prototype, 'write') as (...sent: unknown[]) => boolean;
    onTestFinished(() => void vi.restoreAllMocks());
    vi.spyOn(Socket.prototype, 'write').mockImplementation(function (this: Socket, ...sent: unknown[]) {
      // Before the loop reads again, and for longer than the pause between two pieces.
      setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100));
      return Reflect.apply(write, this, sent);
    });
    await talk.send([Buffer.from('one'), Buffer.from('two')], 20);
    await until(() => seen.join('') === 'onetwo', 'both pieces');
    talk.close();
    expect(seen).toEqual(['one', 'two']);
  });
});

describe('wirelab probe', () => {
  it('finds the fault in the tutorial’s own server, with a case that repeats it', async () => {
    await using server = python('struct_i_server');
    const target = `127.0.0.1:${await portOf(server)}`;
    const words = ['probe', target, '--framing', 'i32le', '--request', hex('echo hi'), '--json', '--timeout', '10000'];
    /** On a busy machine the server may read late, and find whole what was cut. */
    const fails = (...of: string[]) =>
      until(
        async () => {
          const tried = await finished(wirelab(...of));
          return tried.code === 1 ? tried : undefined;
        },
        `a fault in ${of.join(' ')}`,
      );
    const found = await fails(...words);
    const report = JSON.parse(found!.stdout);
    expect(report).toMatchObject({ ok: false, framed: false, minimal: { verdict: 'changed' } });
    expect(report.minimal.sent).toHaveLength(2);
    const [, single] = /--repeat '(.+)'/.exec(report.repeat)!;
    const repeated = await fails('probe', '--repeat', single!);
    expect(repeated!.stdout).toContain('a cut changes the answer');
    const whole = single!.replace(/[^/]+$/, '1::0');
    expect((await finished(wirelab('probe', '--repeat', whole, ...PATIENT))).code).toBe(0);
  });

  it('passes a server with correct framing', async () => {
    const server = await serve({ host: '127.0.0.1', port: 0 }, Echo);
    const { port } = server.serverAddress;
    const good = await finished(
      wirelab('probe', `127.0.0.1:${port}`, ...PATIENT, '--framing', 'u32be', '--request', '0000000568656c6c6f'),
    );
    await server.shutdown({ timeout: 0 });
    expect(good.stdout).toContain('no cut changes the answer');
    expect(good.code).toBe(0);
  });

  it('passes a server that answers with a clock', async () => {
    let clock = 0;
    await using server = await listening((socket) => {
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk.toString();
        for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n')) {
          text = text.slice(at + 1);
          socket.write(`now ${String(++clock).padStart(6, '0')}\n`);
        }
      });
    });
    const report = await probe({ address: server.address, framing: 'lines', requests: [Buffer.from('time\n')] });
    expect(report.varyingBytes).toBeGreaterThan(0);
    expect(report.minimal).toBeUndefined();
  });

  it('passes a greeting server with correct framing, and shows the greeting', async () => {
    await using server = await listening(greets(['220 hello\r\n'], 0, false));
    const target = `127.0.0.1:${server.address.port}`;
    const { code, stdout } = await finished(
      wirelab('probe', target, ...PATIENT, '--framing', 'crlf', '--request', hex('NOOP\r\n')),
    );
    expect(stdout).toContain('greeting, waited for and not compared: "220 hello"');
    expect(stdout).toContain('not tried: requests that do not wait for the greeting');
    expect(stdout).toContain('not tried: the greeting (it is not compared)');
    expect(stdout).toContain('no cut that was tried changes the answer');
    expect(code).toBe(0);
  });

  it.each([
    ['one answer a connection, behind a greeting', ['220 hello\r\n'], 'NOOP\r\n', 'glued, glued and split, pipelined'],
    ['a request of one byte', [], '\n', 'split, byte by byte, slow'],
    ['a long request', [], `${'x'.repeat(192)}\r\n`, 'splits at 74 of 193 offsets'],
  ])('reports what it did not try: %s', async (_name, lines, request, what) => {
    await using server = await listening((socket) => {
      lines.forEach((line) => socket.write(line));
      let text = '';
      socket.on('data', (chunk) => {
        text += chunk.toString();
        for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n')) {
          text = text.slice(at + 1);
          if (lines.length > 0) socket.end('250 ok\r\n');
          else socket.write('250 ok\r\n');
        }
      });
    });
    const target = `127.0.0.1:${server.address.port}`;
    const { code, stdout } = await finished(
      wirelab('probe', target, ...PATIENT, '--framing', 'crlf', '--request', hex(request), '--json'),
    );
    const report = JSON.parse(stdout) as { notTried: { what: string; reason: string }[] };
    const families = report.notTried.map((each) => each.what);
    expect(families).toContain(what);
    expect(families.includes('the greeting')).toBe(lines.length > 0);
    for (const { reason } of report.notTried) expect(reason).not.toBe('');
    expect(code).toBe(0);
  });

  it('reports a missing answer to compare with, and exits with 3', async () => {
    await using server = await listening((socket) => socket.resume());
    const { code, stderr } = await finished(
      wirelab('probe', `127.0.0.1:${server.address.port}`, '--framing', 'u32be', '--request', 'ff', '--timeout', '200'),
    );
    expect(code).toBe(3);
    expect(stderr).toContain('gets no answer');
  });
});
