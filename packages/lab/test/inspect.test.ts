/** Taps, guesses and wirelab inspect: which reads carried which messages. */
import { mkdtemp, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { lengthPrefixed } from '@sendall/framing';
import { MessageRequestHandler, serve } from '@sendall/socketserver';
import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { guessFraming, Inspector, Tap, type InspectEvent } from '@sendall/lab';
import { certificate } from '../../socketserver/test/support/certificate.js';
import { finished, portOf, Program, wirelab } from './programs.js';

const encoder = lengthPrefixed({ bytes: 4 }).encoder();
const frame = (text: string) => encoder.encode(text);

class Echo extends MessageRequestHandler {
  static override readonly framing = 'u32be';
  override onMessage(message: Buffer): void {
    this.send(message);
  }
}

describe('a tap', () => {
  it('reports which messages ended in a read, and the incomplete one', () => {
    const tap = new Tap('u32be');
    const bytes = Buffer.concat([frame('hello'), frame('world'), frame('egon')]);
    const first = tap.read(bytes.subarray(0, 11));
    expect(first).toMatchObject({ offset: 0, length: 11, messages: [{ index: 0, start: 0, end: 9, payloadAt: 4 }] });
    expect(first.partial).toMatchObject({ have: 2 });
    const second = tap.read(bytes.subarray(11));
    expect(second.messages.map(({ start, end }) => [start, end])).toEqual([
      [9, 18],
      [18, 26],
    ]);
    expect(second.partial).toBeUndefined();
  });

  it('finds the same messages at the same places however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('u32be', 'varint', 'lines', 'netstring', 'u8', 'cobs', 'slip'),
        fc.array(fc.constantFrom('', 'a', 'hello', 'a longer one', 'x'.repeat(100)), { minLength: 1, maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 10 }),
        (spec, texts, cuts) => {
          const whole = new Tap(spec);
          const bytes = Buffer.concat(texts.map((text) => wire(spec, text)));
          const expected = whole.read(bytes).messages;
          const tap = new Tap(spec);
          const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
          const seen = [...places, bytes.length].flatMap(
            (place, index) => tap.read(bytes.subarray(places[index - 1] ?? 0, place)).messages,
          );
          expect(seen).toEqual(expected);
          expect(expected.at(-1)?.end ?? bytes.length).toBe(bytes.length);
        },
      ),
      { numRuns: 300 },
    );
  });
});

function wire(spec: string, text: string): Buffer {
  const bytes = Buffer.from(text);
  switch (spec) {
    case 'u32be':
      return frame(text);
    case 'varint':
    case 'u8':
      return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    case 'lines':
      return Buffer.concat([bytes, Buffer.from('\n')]);
    case 'netstring':
      return Buffer.from(`${bytes.length}:${text},`);
    case 'cobs':
      return Buffer.concat([Buffer.from([bytes.length + 1]), bytes, Buffer.from([0])]);
    default:
      return Buffer.concat([bytes.length ? bytes : Buffer.from('e'), Buffer.from([0xc0])]);
  }
}

describe('a guess', () => {
  const u16 = lengthPrefixed({ bytes: 2, endian: 'le' }).encoder();
  const reads: [string, Buffer[]][] = [
    ['u32be', [Buffer.concat([frame('hello'), frame('world')]), frame('egon')]],
    ['u16le', [u16.encode('hello'), u16.encode('world and more'), u16.encode('egon')]],
    ['lines', [Buffer.from('hello\nworld\n'), Buffer.from('egon\n')]],
    ['crlf', [Buffer.from('PING\r\n'), Buffer.from('ECHO hi\r\nQUIT\r\n')]],
    ['netstring', [Buffer.from('5:hello,5:world,'), Buffer.from('4:egon,')]],
    ['octet-counting', [Buffer.from('13 <13>1 - - - -'), Buffer.from('7 <34>no.13 <13>1 - - - -')]],
    ['content-length', [Buffer.from('Content-Length: 2\r\n\r\n{}'), Buffer.from('Content-Length: 4\r\n\r\nnull')]],
  ];
  it.each(reads)('finds %s', (spec, chunks) => {
    expect(guessFraming(chunks)[0]).toMatchObject({ framing: spec });
  });

  const bytes = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
  /** Hello of a client of TLS 1.3, cut behind its random bytes; the record says how long it is. */
  const hello = '16 0301 002d 01 000029 0303' + 'a5'.repeat(32) + '00 0002 1301 0100';
  const parameters = 'user\0root\0database\0postgres\0application_name\0psql\0client_encoding\0UTF8\0\0';
  const startup = `00000050 00030000 ${Buffer.from(parameters).toString('hex')}`;
  const protocolHeader = '414d5150 00000901';
  const connectionStart =
    '01 0000 00000022 000a000a 0009 00000000 00000005 504c41494e 0000000b 656e5f55535f656e5f5553 ce';
  const firstBytes: [name: string, protocol: string, framing: string, messages: number, reads: string[]][] = [
    ['a TLS client', 'TLS', 'u16be,offset=3,strip=0', 1, [hello]],
    [
      'a TLS client whose hello comes in two reads',
      'TLS',
      'u16be,offset=3,strip=0',
      1,
      [hello.slice(0, 13), hello.slice(13)],
    ],
    ['a TLS server that refuses', 'TLS', 'u16be,offset=3,strip=0', 1, ['15 0303 0002 02 28']],
    ['a PostgreSQL client', 'PostgreSQL', 'postgres,preface=80', 2, [startup, '51 0000000d 73656c6563742031 00']],
    ['a PostgreSQL client that asks for TLS', 'PostgreSQL', 'postgres,preface=8', 1, ['00000008 04d2162f']],
    ['one that got TLS', 'TLS', 'u16be,offset=3,strip=0,preface=8', 2, ['00000008 04d2162f', hello]],
    ['one that did not', 'PostgreSQL', 'postgres,preface=88', 1, ['00000008 04d2162f', startup]],
    [
      'one that asks for GSSAPI, then TLS',
      'PostgreSQL',
      'postgres,preface=96',
      1,
      ['00000008 04d21630', '00000008 04d2162f', startup],
    ],
    ['one that cancels', 'PostgreSQL', 'postgres,preface=16', 1, ['00000010 04d2162e 00000102 0a0b0c0d']],
    ['a PostgreSQL server', 'PostgreSQL', 'postgres', 2, ['52 00000008 00000000 5a 00000005 49']],
    ['one without TLS', 'PostgreSQL', 'postgres,preface=1', 2, ['4e', '52 00000008 00000003']],
    [
      'one with TLS',
      'TLS',
      'u16be,offset=3,strip=0,preface=1',
      2,
      ['53', hello.replace('16 0301 002d 01', '16 0303 002d 02')],
    ],
    ['an AMQP client', 'AMQP 0-9-1', 'u32be,offset=3,adjust=1,strip=0,preface=8', 1, [protocolHeader]],
    [
      'its heartbeat',
      'AMQP 0-9-1',
      'u32be,offset=3,adjust=1,strip=0,preface=8',
      2,
      [protocolHeader, '08 0000 00000000 ce'],
    ],
    ['an AMQP server', 'AMQP 0-9-1', 'u32be,offset=3,adjust=1,strip=0', 1, [connectionStart]],
    [
      'an AMQP 1.0 client',
      'AMQP 1.0',
      'u32be,includes-header,strip=0,preface=8',
      2,
      ['414d5150 00010000', '00000008 02000000'],
    ],
    [
      'an HTTP/2 client',
      'HTTP/2',
      'u24be,adjust=6,strip=0,preface=24',
      2,
      ['505249202a20485454502f322e300d0a0d0a534d0d0a0d0a 000000 04 00 00000000'],
    ],
  ];
  it.each(firstBytes)('recognizes the first bytes of %s: %s', (_name, protocol, framing, messages, chunks) => {
    expect(guessFraming(chunks.map(bytes))[0]).toMatchObject({ protocol, framing, messages });
  });

  it.each([
    ['a length and a payload of three', [bytes('0000000c 00030000 ffffffff'), bytes('0000000c 00030000 ffffffff')]],
    ['text that begins with R', [Buffer.from('READY\n'), Buffer.from('RUN\n')]],
    ['lines about AMQP', [Buffer.from('AMQP\n'), Buffer.from('AMQPS\n')]],
    ['an answer S and no more', [Buffer.from('S')]],
  ])('does not take %s for a protocol', (_name, chunks) => {
    expect(guessFraming(chunks)[0]?.protocol).toBeUndefined();
  });

  it('of any bytes, cut anywhere, works without an error', () => {
    const beginnings = fc.constantFrom('', ...firstBytes.map(([, , , , [first = '']]) => first));
    fc.assert(
      fc.property(beginnings, fc.array(fc.uint8Array({ maxLength: 40 })), fc.nat(60), (begin, more, cut) => {
        const whole = Buffer.concat([bytes(begin), ...more]);
        guessFraming([whole.subarray(0, cut), whole.subarray(cut)]);
      }),
    );
  });

  it('finds nothing in noise that nothing fits', () => {
    expect(guessFraming([Buffer.from([0xff, 0xfe, 0x81])]).filter((guess) => guess.score > 0.7)).toEqual([]);
  });
});

function inspect(framing: string, reads: Buffer[]): InspectEvent[] {
  const events: InspectEvent[] = [];
  const inspector = new Inspector({ framing }, (event) => events.push(event));
  reads.forEach((bytes, index) => inspector.see({ type: 'read', connection: 1, direction: 'up', bytes }, index));
  return events;
}

/** Without times, which differ. */
function plain(list: { atMs: number }[]): object[] {
  return list.map((event) => ({ ...event, atMs: 0 }));
}

describe('an inspector', () => {
  it('marks reads as glued and split', () => {
    const bytes = Buffer.concat([frame('hello'), frame('world'), frame('egon')]);
    const [first, second] = inspect('u32be', [bytes.subarray(0, 20), bytes.subarray(20)]);
    expect(first).toMatchObject({ event: 'read', glued: true, split: false, partial: { have: 2 } });
    expect(second).toMatchObject({ event: 'read', glued: false, split: true });
  });

  it('delays a guess until a PostgreSQL client that asked for TLS continues', () => {
    // The messages of psql 15 to a server that refuses.
    const startup = '0000003300030000757365720 06d6500646174616261736500646200'.replace(' ', '');
    const rest = '6170706c69636174696f6e5f6e616d65007073716c0000';
    const reads = ['0000000804d2162f', startup + rest, '70000000067800'].map((text) => Buffer.from(text, 'hex'));
    const events = inspect('guess', reads);
    expect(events.map(({ event }) => event)).toEqual(['read', 'read', 'guess', 'read']);
    expect(events[2]).toMatchObject({ framing: 'postgres,preface=59' });
    expect(events[2]).toHaveProperty('guesses.0.protocol', 'PostgreSQL');
    expect(events[3]).toMatchObject({ messages: [{ payload: Buffer.from('70000000067800', 'hex') }] });
    expect(inspect('u32be', reads).find(({ event }) => event === 'misfit')).toMatchObject({
      guesses: expect.arrayContaining([expect.objectContaining({ protocol: 'PostgreSQL' })]),
    });
  });

  it('reports that the named framing cannot be right, and which ones fit', () => {
    const events = inspect('u32be', [Buffer.from('GET / HTTP/1.1\r\n'), Buffer.from('Host: a\r\n\r\n')]);
    expect(events.find((event) => event.event === 'misfit')).toMatchObject({ framing: 'u32be' });
    const other = inspect('u32le', [frame('hello'), frame('world'), frame('egon')]);
    const misfit = other.find((event) => event.event === 'misfit');
    expect(misfit?.guesses[0]).toMatchObject({ framing: 'u32be' });
  });

  it('doubts a framing that only waits while another one finds messages', () => {
    const events = inspect('u16be', [Buffer.from('hello\n'), Buffer.from('world\n'), Buffer.from('egon\n')]);
    expect(events.find((event) => event.event === 'misfit')?.guesses[0]).toMatchObject({ framing: 'lines' });
  });

  it('settles on a framing by itself with guess', () => {
    const events = inspect('guess', [frame('hello'), frame('world'), Buffer.concat([frame('a'), frame('b')])]);
    expect(events.find((event) => event.event === 'guess')).toMatchObject({ framing: 'u32be' });
    expect(events.at(-1)).toMatchObject({ event: 'read', glued: true });
  });

  it.each([
    ['crlf', 'PING\r\n'],
    ['u32be', 'PING\r\n'],
    ['u16le', '\x04\0abcd'],
    ['u16be', '\x04\0abcd'],
    ['guess', '\xff\xfe\x81\x00'],
    ['guess', 'hello, a bit of text '],
  ])('looks at a small read a bounded number of times, however many come: %s, %j', (framing, read) => {
    const looks = vi.spyOn(Tap.prototype, 'read');
    try {
      const count = 2500;
      inspect(framing, Array<Buffer>(count).fill(Buffer.from(read, 'latin1')));
      expect(looks.mock.calls.length).toBeLessThan(60 * count);
    } finally {
      looks.mockRestore();
    }
  });
});

describe('wirelab inspect', () => {
  it('shows traffic live, records it, and replay shows the same again', async () => {
    const server = await serve({ host: '127.0.0.1', port: 0 }, Echo);
    const folder = await mkdtemp(join(tmpdir(), 'wirelab-'));
    const file = join(folder, 'record.jsonl');
    try {
      const { port } = server.serverAddress;
      await using inspect = wirelab(
        'inspect',
        '--listen',
        '127.0.0.1:0',
        '--to',
        `127.0.0.1:${port}`,
        '--framing',
        'u32be',
        '--json',
        '--record',
        file,
      );
      const socket = connect({ port: Number(await portOf(inspect)), host: '127.0.0.1', noDelay: true });
      socket.write(Buffer.concat([frame('hello'), frame('world'), frame('egon').subarray(0, 5)]));
      await inspect.says(/"have":5/);
      socket.write(frame('egon').subarray(5));
      socket.end();
      socket.resume();
      await once(socket, 'close');
      await inspect.says(/"event":"close"/);
      inspect.child.kill('SIGINT');
      expect(await inspect.ended).toBe(0);
      const events = inspect.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(events[0]).toMatchObject({ event: 'listening', host: '127.0.0.1' });
      const up = events.filter((event) => event.event === 'read' && event.direction === 'up');
      expect(up[0]).toMatchObject({
        glued: true,
        messages: [{ text: 'hello' }, { text: 'world' }],
        partial: { have: 5, missing: 3 },
      });
      expect(up.at(-1)).toMatchObject({ split: true, messages: [{ text: 'egon' }] });

      const replayed = await finished(wirelab('replay', file, '--json'));
      expect(replayed.code).toBe(0);
      expect(
        plain(
          replayed.stdout
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line)),
        ),
      ).toEqual(plain(events.slice(1)));
      expect((await finished(wirelab('replay', file))).stdout).toContain('2 messages, and 5 of 8 bytes of the next');

      const to = ['--to', `127.0.0.1:${port}`, '--patience', '60'];
      const again = await finished(wirelab('replay', file, ...to, '--json', '--speed', '100'));
      const down = again.stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line));
      const texts = down
        .filter((event) => event.direction === 'down' && event.event === 'read')
        .flatMap((event) => event.messages);
      expect(texts.map((message: { text: string }) => message.text)).toEqual(['hello', 'world', 'egon']);
    } finally {
      await server.shutdown({ timeout: 0 });
      await rm(folder, { recursive: true });
    }
  });

  it('refuses a file that is not a record, with the line', async () => {
    const { code, stderr } = await finished(wirelab('replay', fileURLToPath(import.meta.url)));
    expect(code).toBe(1);
    expect(stderr).toMatch(/inspect\.test\.ts line 1 is not part of a record/);
  });

  it('guesses TLS that Node speaks, and shows each of its records', async () => {
    const { key, cert } = certificate;
    const server = createTlsServer({ key, cert }, (socket) => socket.end('bye'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const to = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    await using inspect = wirelab('inspect', '--listen', '0', '--to', to, '--framing', 'guess', '--json');
    const client = connectTls({ port: Number(await portOf(inspect)), host: '127.0.0.1', rejectUnauthorized: false });
    client.resume();
    await once(client, 'close');
    await inspect.says(/"event":"close"/);
    server.close();
    const events = inspect.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    for (const direction of ['up', 'down']) {
      const own = events.filter((event) => event.direction === direction);
      expect(own.filter((event) => event.event === 'guess').map((event) => event.guesses[0].protocol)).toEqual(['TLS']);
      const guessed = own.findIndex((event) => event.event === 'guess');
      const messages = own.slice(guessed).flatMap((event) => event.messages ?? []);
      expect(messages.length).toBeGreaterThan(0);
      for (const { hex, text } of messages) expect(hex ?? Buffer.from(text).toString('hex')).toMatch(/^1[4-7]030[13]/);
    }
  });

  it('passes the tutorial’s own traffic, whose directions are framed differently', async () => {
    await using server = wirelab('serve', 'struct-i');
    const to = `127.0.0.1:${await portOf(server)}`;
    await using inspect = wirelab(
      'inspect',
      '--listen',
      '0',
      '--to',
      to,
      '--framing',
      'raw',
      '--framing-back',
      'i32le',
      '--json',
    );
    await using client = wirelab('call', 'struct-i', `127.0.0.1:${await portOf(inspect)}`, 'echo hi');
    await client.ended;
    expect(client.stdout).toBe('hi\n');
    await inspect.says(/"text":"hi\\n"/);
    expect(inspect).toBeInstanceOf(Program);
  });
});
