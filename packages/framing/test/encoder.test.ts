import {
  cobs,
  contentLength,
  custom,
  delimited,
  fixed,
  type Framing,
  lengthPrefixed,
  lines,
  netstring,
  presets,
  slip,
  varint,
} from '@sendall/framing';
import { describe, expect, test } from 'vitest';
import { random } from './dist/cutting.js';
import { subjects } from './dist/subjects.js';

const code = (step: () => unknown): string | undefined => {
  try {
    step();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return undefined;
};

describe.each(subjects)('$name', (subject) => {
  test('encode, encodeInto, encodeAll and size agree', () => {
    const next = random(3);
    const encoder = subject.make().encoder();
    for (let i = 0; i < 20; i++) {
      const payload = subject.payload(Math.floor(next() * 60), next);
      const frame = encoder.encode(payload);
      expect(encoder.size(payload)).toBe(frame.length);
      expect(encoder.encodeAll([payload, payload])).toEqual(Buffer.concat([frame, frame]));
      const target = Buffer.alloc(frame.length + 5, 0xee);
      expect(encoder.encodeInto(payload, target, 3)).toBe(frame.length);
      expect(target).toEqual(Buffer.concat([Buffer.alloc(3, 0xee), frame, Buffer.alloc(2, 0xee)]));
      const small = Buffer.alloc(frame.length + 1, 0xee);
      expect(() => encoder.encodeInto(payload, small, 2)).toThrow(RangeError);
      expect(small.every((byte) => byte === 0xee)).toBe(true);
    }
  });
});

test.each<[string, Framing, string, string]>([
  ['u32be', lengthPrefixed(), '000000056869c3bc21', '00000005'],
  ['u16le behind an offset', lengthPrefixed({ bytes: 2, endian: 'le', offset: 1 }), '0005006869c3bc21', '000500'],
  ['varint', varint(), '056869c3bc21', '05'],
  ['netstring', netstring(), '353a6869c3bc212c', '353a'],
  [
    'content-length',
    contentLength(),
    `${Buffer.from('Content-Length: 5\r\n\r\n').toString('hex')}6869c3bc21`,
    Buffer.from('Content-Length: 5\r\n\r\n').toString('hex'),
  ],
  ['lines', lines(), '6869c3bc210a', ''],
  ['slip', slip({ leadingEnd: true }), 'c06869c3bc21c0', 'c0'],
  ['cobs', cobs(), '066869c3bc2100', ''],
])('a string is UTF-8, and the header of that many bytes stands before it: %s', (_name, framing, wire, header) => {
  const encoder = framing.encoder();
  expect(encoder.encode('hiü!').toString('hex')).toBe(wire);
  expect(encoder.header(5).toString('hex')).toBe(header);
});

test('what a length field cannot say is refused, not cut off', () => {
  expect(code(() => lengthPrefixed({ bytes: 1 }).encoder().encode(Buffer.alloc(256)))).toBe('PAYLOAD_TOO_LARGE');
  expect(code(() => lengthPrefixed({ bytes: 1, signed: true }).encoder().encode(Buffer.alloc(128)))).toBe(
    'PAYLOAD_TOO_LARGE',
  );
  expect(code(() => lengthPrefixed({ bytes: 2, mask: 0xff }).encoder().encode(Buffer.alloc(256)))).toBe(
    'PAYLOAD_TOO_LARGE',
  );
  expect(code(() => varint({ maxPrefixBytes: 1 }).encoder().encode(Buffer.alloc(128)))).toBe('PAYLOAD_TOO_LARGE');
  expect(code(() => lengthPrefixed({ adjust: 2 }).encoder().encode('x'))).toBe('INVALID_LENGTH');
});

test('a payload that would be read as something else is refused', () => {
  const refused: [Framing, string][] = [
    [lines(), 'a\nb'],
    [lines(), 'a\r'],
    [lines({ eol: 'crlf' }), 'a\r\nb'],
    [delimited('||'), 'a|'],
    [delimited(['\r', '\r\n']), 'a\rb'],
    [lines({ keep: true }), 'a\nb\n'],
    [slip(), ''],
  ];
  for (const [framing, payload] of refused) {
    expect(code(() => framing.encoder().encode(payload))).toBe('MALFORMED_FRAME');
  }
  expect(String(lines({ eol: 'crlf' }).encoder().encode('a\nb\r'))).toBe('a\nb\r\r\n');
  expect(String(lines({ keep: true }).encoder().encode('a\r\n'))).toBe('a\r\n');
  expect(String(lines({ keep: true }).encoder().encode('a'))).toBe('a\n');
  expect(String(delimited(['\r', '\r\n']).encoder().encode('a'))).toBe('a\r\n');
});

test('a frame that is encoded whole must be right in itself', () => {
  expect(
    code(() =>
      presets
        .tpkt()
        .encoder()
        .encode(Buffer.of(3, 0, 0, 9, 1)),
    ),
  ).toBe('INVALID_LENGTH');
  expect(
    code(() =>
      presets
        .tpkt()
        .encoder()
        .encode(Buffer.of(2, 0, 0, 4)),
    ),
  ).toBe('MALFORMED_FRAME');
  expect(code(() => presets.kafka().encoder().encode(Buffer.of(0, 0)))).toBe('INVALID_LENGTH');
  expect(
    code(() =>
      presets
        .grpc()
        .encoder()
        .encode(Buffer.of(0, 0, 0, 0, 2, 1)),
    ),
  ).toBe('INVALID_LENGTH');
  expect(code(() => fixed(2).encoder().encode('x'))).toBe('INVALID_LENGTH');
  expect(code(() => fixed(2).encoder().encode('xyz'))).toBe('PAYLOAD_TOO_LARGE');
});

test('an error names the payload of a list that it is about', () => {
  const encoder = lines().encoder();
  expect(() => encoder.encodeAll(['a', 'b', 'c\n'])).toThrow(expect.objectContaining({ frameIndex: 2, fatal: false }));
  expect(() => encoder.encode('c\n')).toThrow(expect.objectContaining({ frameIndex: 0 }));
  expect(() => encoder.encode(5 as unknown as string)).toThrow(TypeError);
});

test('a custom framing without encode has no encoder', () => {
  const one = custom('one', (_buf, start) => ({ frame: [start, start + 1], consumed: 1 }));
  expect(() => one.encoder()).toThrow('without "encode"');
});
