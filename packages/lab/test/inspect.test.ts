import { mkdtemp, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lengthPrefixed } from '@sendall/framing';
import { MessageRequestHandler, serve } from '@sendall/socketserver';
import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { guessFraming, Inspector, Tap, type InspectEvent } from '@sendall/lab';
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
  it('says which messages ended in a read, and what goes on', () => {
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
    ['content-length', [Buffer.from('Content-Length: 2\r\n\r\n{}'), Buffer.from('Content-Length: 4\r\n\r\nnull')]],
  ];
  it.each(reads)('finds %s', (spec, chunks) => {
    expect(guessFraming(chunks)[0]).toMatchObject({ framing: spec });
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

  it('says that the framing named cannot be right, and what fits', () => {
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
  it('shows live what passes, records it, and replay shows the same again', async () => {
    const server = await serve({ host: '127.0.0.1', port: 0 }, Echo);
    const folder = await mkdtemp(join(tmpdir(), 'wirelab-'));
    const file = join(folder, 'record.jsonl');
    try {
      const { port } = server.serverAddress as { port: number };
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

      const again = await finished(wirelab('replay', file, '--to', `127.0.0.1:${port}`, '--json', '--speed', '100'));
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

  it('refuses what is not a record, by file and line', async () => {
    const { code, stderr } = await finished(wirelab('replay', fileURLToPath(import.meta.url)));
    expect(code).toBe(1);
    expect(stderr).toMatch(/inspect\.test\.ts line 1 is not part of a record/);
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
