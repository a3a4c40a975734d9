/** The filters of inspect, and pairs of requests and answers. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  FilterError,
  Inspector,
  Pairs,
  parseFilter,
  parseIdentify,
  type Filterable,
  type PairEvent,
  type PairOptions,
} from '@sendall/lab';
import { finished, wirelab } from './programs.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wirelab-filter-'));
});
afterAll(() => rm(folder, { recursive: true }));

const read = (more: Partial<Filterable> & { says?: string } = {}): Filterable => {
  const { says = 'HELLO world\r\n', ...rest } = more;
  const bytes = Buffer.from(says);
  return { event: 'read', atMs: 50, connection: 3, direction: 'up', size: bytes.length, contents: [bytes], ...rest };
};

describe('a filter', () => {
  it.each<[string, boolean]>([
    ['from client', true],
    ['from server', false],
    ['to server', true],
    ['to client', false],
    ['connection 3', true],
    ['connection 1-2,4', false],
    ['connection 1-2, 3', true],
    ['size > 12', true],
    ['size > 13', false],
    ['size >= 13 size<=13 and size = 13 and not size != 13', true],
    ['time < 50.5', true],
    ['took > 1', false],
    ['not took > 1', true],
    ['text HELLO', true],
    ['text hello', false],
    ['text "HELLO w"', true],
    [`text 'world\\r'`, false],
    ['text "world\\r\\n"', true],
    ['text ""', true],
    ['hex 0d0a', true],
    ['hex "48 45"', true],
    ['hex 0d0b', false],
    ['is read', true],
    ['is close', false],
    ['whole', true],
    ['glued or split or partial', false],
    ['from server or from client and size > 12', true],
    ['(from server or from client) and size > 100', false],
    ['not (from server or size > 100)', true],
    ['text "or" or text "and" or not text "not"', true],
  ])('%s: %s', (source, fits) => {
    expect(parseFilter(source)(read())).toBe(fits);
  });

  it('finds a text that two reads share in the message that the second one ends, and nothing in what has no bytes', () => {
    expect(parseFilter('text HELLO')(read({ says: 'LO', contents: [Buffer.from('LO'), Buffer.from('HELLO')] }))).toBe(
      true,
    );
    expect(parseFilter('text HELLO')({ event: 'close', atMs: 1, contents: [] })).toBe(false);
  });

  it.each<[string, number, RegExp]>([
    ['', 0, /the end stands where one of from, to/],
    ['from', 4, /one of client, server is expected behind "from", not the end/],
    ['from me', 5, /not "me"/],
    ['size > big', 7, /a number is expected behind "size >", not "big"/],
    ['size 100', 5, /one of > >= < <= = != is expected behind "size", not "100"/],
    ['from client but size > 1', 12, /"but" is none of/],
    ['(from client', 12, /"\)" is expected, not the end/],
    ['from client)', 11, /"\)" stands where "and", "or" or the end is expected/],
    ['text "HELLO', 5, /this text has no end/],
    ['text "a\\q"', 7, /"\\q" is no escape/],
    ['hex 0d0', 4, /pairs of hexadecimal digits/],
    ['size > 1 & from client', 9, /"&" means nothing here/],
    ['connection x', 11, /a number of a connection/],
    ['is good', 3, /one of open, read/],
    ['('.repeat(200), 100, /more than 100 levels/],
  ])('%j is refused with the place %i', (source, position, problem) => {
    const wrong = (() => {
      try {
        return parseFilter(source);
      } catch (error) {
        return error;
      }
    })();
    expect(wrong).toBeInstanceOf(FilterError);
    expect(wrong).toMatchObject({ position, message: expect.stringMatching(problem) });
    expect((wrong as Error).message).toContain(`at character ${position + 1}`);
  });

  it('of any words is a filter or a FilterError with a place inside it', () => {
    const word = fc.constantFrom(
      'from',
      'client',
      'and',
      'or',
      'not',
      '(',
      ')',
      'size',
      '>',
      '1',
      'text',
      '"a"',
      'hex',
      ',',
      '0d',
    );
    const source = fc.oneof(
      fc.string(),
      fc.array(word, { maxLength: 12 }).map((words) => words.join(' ')),
    );
    fc.assert(
      fc.property(source, (text) => {
        try {
          expect(typeof parseFilter(text)(read())).toBe('boolean');
        } catch (error) {
          if (!(error instanceof FilterError)) throw error;
          expect(error.position).toBeGreaterThanOrEqual(0);
          expect(error.position).toBeLessThanOrEqual(text.length);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('finds bytes exactly where Buffer finds them', () => {
    const few = fc.uint8Array({ minLength: 1, maxLength: 30, max: 3 });
    fc.assert(
      fc.property(few, fc.uint8Array({ minLength: 1, maxLength: 4, max: 3 }), (bytes, wanted) => {
        const filter = parseFilter(`hex ${Buffer.from(wanted).toString('hex')}`);
        expect(filter(read({ contents: [bytes] }))).toBe(Buffer.from(bytes).includes(Buffer.from(wanted)));
      }),
    );
  });
});

/** What pairs a dialogue has: each step a direction, a time and its bytes. */
function pairs(
  framing: string,
  steps: [up: boolean, atMs: number, bytes: string | Buffer][],
  options: PairOptions = {},
) {
  const found: PairEvent[] = [];
  const pairing = new Pairs({ framing }, options, (event) => found.push(event));
  const inspector = new Inspector({ framing }, (event) => pairing.see(event));
  inspector.see({ type: 'open', connection: 1, client: 'x' }, 0);
  for (const [up, atMs, bytes] of steps) {
    inspector.see({ type: 'read', connection: 1, direction: up ? 'up' : 'down', bytes: Buffer.from(bytes) }, atMs);
  }
  inspector.see({ type: 'close', connection: 1, up: 0, down: 0 }, 100);
  return found.map((event) =>
    event.event === 'pair'
      ? `${event.request.index}-${event.answer.index} ${event.tookMs}`
      : event.event === 'unanswered'
        ? `${event.request.index} unanswered ${event.waitedMs} ${event.reason}`
        : `unasked ${event.answer.index}`,
  );
}

describe('pairs', () => {
  it('are made by order, from the read that ends the request to the one that ends the answer', () => {
    const found = pairs('lines', [
      [false, 1, 'hello, I am a server\n'],
      [true, 10, 'one\ntw'],
      [true, 20, 'o\nthree\n'],
      [false, 25, '1'],
      [false, 30, '\n2\n'],
    ]);
    expect(found).toEqual(['unasked 0', '0-1 20', '1-2 10', '2 unanswered 80 the connection closed']);
  });

  const u32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const prefixed = (...parts: Buffer[]) => {
    const body = Buffer.concat(parts);
    return Buffer.concat([u32(body.length), body]);
  };
  const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
  const marked = (...parts: Buffer[]) => {
    const frame = prefixed(...parts);
    frame[0]! |= 0x80;
    return frame;
  };
  const json = (value: object) => `${JSON.stringify({ jsonrpc: '2.0', ...value })}\n`;

  it.each<[string, string, [up: boolean, atMs: number, bytes: string | Buffer][], string[]]>([
    [
      'JSON-RPC',
      'lines',
      [
        [true, 1, json({ id: 1, method: 'a' }) + json({ id: 2, method: 'b' }) + json({ method: 'notice' })],
        [false, 4, json({ id: 2, result: 0 })],
        [false, 5, json({ id: 1, method: 'the server asks' })],
        [true, 6, json({ id: 1, result: 0 })],
        [false, 8, json({ id: 1, error: {} })],
      ],
      ['1-0 3', '1-3 1', '0-2 7'],
    ],
    [
      'Kafka',
      'kafka',
      [
        [true, 1, Buffer.concat([7, 8].map((id) => prefixed(hex('0003 0001'), u32(id), hex('0000'))))],
        [false, 3, prefixed(u32(8), hex('00'))],
        [false, 5, prefixed(u32(7), hex('00'))],
      ],
      ['1-0 2', '0-1 4'],
    ],
    [
      'ONC RPC',
      'oncrpc',
      [
        [true, 1, Buffer.concat([marked(u32(5), u32(0)), marked(u32(6), u32(0))])],
        [false, 2, marked(u32(6), u32(1))],
        [false, 3, marked(u32(5), u32(1))],
      ],
      ['1-0 1', '0-1 2'],
    ],
    [
      'LDAP, whose searches have several answers and whose unbind has none',
      'asn1-ber',
      [
        [true, 1, hex('3005 020101 6300')],
        [false, 2, hex('3005 020101 6400')],
        [false, 3, Buffer.concat([hex('3005 020101 6400'), hex('3005 020101 6500')])],
        [true, 4, hex('3005 020102 4200')],
      ],
      ['0-2 2'],
    ],
    [
      'PostgreSQL, whose answers end with ReadyForQuery',
      'postgres',
      [
        [false, 1, hex('52 00000008 00000000 5a 00000005 49')],
        [true, 2, hex('51 00000006 3100')],
        [false, 3, hex('43 00000006 3100 5a 00000005 49')],
        [true, 4, hex('50 00000006 0000 53 00000004')],
      ],
      ['0-3 1', '2 unanswered 96 the connection closed'],
    ],
    [
      'FastCGI',
      'fcgi',
      [
        [true, 1, hex('01 01 0001 0000 0000 01 01 0002 0000 0000')],
        [false, 2, hex('01 06 0002 0000 0000 01 03 0002 0000 0000')],
      ],
      ['1-1 1', '0 unanswered 99 the connection closed'],
    ],
  ])('are made by the ids of %s', (_name, framing, steps, expected) => {
    expect(pairs(framing, steps)).toEqual(expected);
  });

  it('are made by an id at any place, and the oldest is dropped beyond the limit', () => {
    const steps: [boolean, number, string][] = [
      [true, 1, 'xA1\n'],
      [true, 2, 'xB2\n'],
      [true, 3, 'xC3\n'],
      [false, 4, 'C3\nA1\n'],
    ];
    const identify = parseIdentify('1:2,0');
    expect(pairs('lines', steps, { identify })).toEqual(['2-0 1', '0-1 3', '1 unanswered 98 the connection closed']);
    expect(pairs('lines', steps, { identify, outstanding: 2 })).toEqual([
      '0 unanswered 2 more than 2 requests waited',
      '2-0 1',
      'unasked 1',
      '1 unanswered 98 the connection closed',
    ]);
    expect(() => parseIdentify('1')).toThrow(/no way to pair: expected auto, order, json/);
  });

  it('of any order of answers match each id once', () => {
    const shuffled = fc
      .uniqueArray(fc.nat(200), { minLength: 1, maxLength: 20 })
      .chain((ids) =>
        fc.tuple(fc.constant(ids), fc.shuffledSubarray(ids, { minLength: ids.length, maxLength: ids.length })),
      );
    fc.assert(
      fc.property(shuffled, ([asked, answered]) => {
        const id = (n: number) => u32(n).toString('hex');
        const found = pairs(
          'lines',
          [
            [true, 1, asked.map((n) => `${id(n)}\n`).join('')],
            [false, 2, answered.map((n) => `${id(n)}\n`).join('')],
          ],
          { identify: parseIdentify('0:8') },
        );
        expect(found).toEqual(answered.map((n, i) => `${asked.indexOf(n)}-${i} 1`));
      }),
    );
  });

  it('come from no bytes whatever an error', () => {
    const framing = fc.constantFrom('kafka', 'oncrpc', 'asn1-ber', 'postgres', 'giop', 'fcgi', 'lines');
    fc.assert(
      fc.property(framing, fc.array(fc.tuple(fc.boolean(), fc.uint8Array({ maxLength: 60 }))), (name, steps) => {
        pairs(
          name,
          steps.map(([up, bytes], i) => [up, i, Buffer.from(bytes)]),
        );
      }),
    );
  });
});

describe('wirelab replay', () => {
  const record = async (): Promise<string> => {
    const file = join(folder, 'record.jsonl');
    const events = [
      { wirelab: 1, framing: 'lines', begunAt: '2026-01-01T00:00:00Z' },
      { atMs: 0, event: 'open', connection: 1, client: '127.0.0.1:5000' },
      { atMs: 1, event: 'read', connection: 1, direction: 'up', base64: Buffer.from('PING\n').toString('base64') },
      { atMs: 13.5, event: 'read', connection: 1, direction: 'down', base64: Buffer.from('PONG\n').toString('base64') },
      { atMs: 20, event: 'read', connection: 1, direction: 'up', base64: Buffer.from('QUIT\n').toString('base64') },
      { atMs: 30, event: 'close', connection: 1, up: 10, down: 5 },
    ];
    await writeFile(file, events.map((event) => `${JSON.stringify(event)}\n`).join(''));
    return file;
  };

  it('shows pairs with the time between, and what a filter lets through', async () => {
    const file = await record();
    const all = await finished(wirelab('replay', file, '--pairs', 'auto'));
    expect(all.stdout).toContain('#1 ↔ request 0 answered after 12.5 ms: PING ← PONG');
    expect(all.stdout).toContain('#1 ↔ request 1 unanswered after 10.0 ms (the connection closed): QUIT');
    const some = await finished(
      wirelab('replay', file, '--pairs', 'auto', '--json', '--filter', 'took > 10 or from client and text "QUIT"'),
    );
    const events = some.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(events).toMatchObject([
      { event: 'pair', tookMs: 12.5, request: { text: 'PING' }, answer: { text: 'PONG', direction: 'down' } },
      { event: 'read', text: 'QUIT\n' },
    ]);
  });

  it('refuses a filter with the place of the wrong word', async () => {
    const { code, stderr } = await finished(
      wirelab('replay', await record(), '--filter', 'from client and size > big'),
    );
    expect({ code, stderr }).toEqual({
      code: 200,
      stderr: 'wirelab: the filter is wrong at character 24: a number is expected behind "size >", not "big"\n',
    });
  });
});
