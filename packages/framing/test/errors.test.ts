/* oxlint-disable unicorn/consistent-function-scoping -- small functions stand beside their use */
import {
  contentLength,
  custom,
  decimalLength,
  type Framing,
  FramingError,
  lengthPrefixed,
  lines,
  netstring,
  octetCounting,
  parseFraming,
  preface,
  presets,
  slip,
  varint,
  verifyFraming,
} from '@sendall/framing';
import { describe, expect, test } from 'vitest';

function errorOf(framing: Framing, wire: string | Buffer): FramingError {
  try {
    framing.decoder().decode(Buffer.from(wire as string, 'latin1'));
  } catch (error) {
    return error as FramingError;
  }
  throw new Error('decoded');
}

test.each([
  ['an HTTP request', 'GET / HTTP/1.1\r\n', 'HTTP request'],
  ['another HTTP request', 'POST /x HTTP/1.1\r\n', 'HTTP request'],
  ['an HTTP answer', 'HTTP/1.1 400 Bad Request\r\n', 'HTTP answer'],
  ['an SSH banner', 'SSH-2.0-OpenSSH_9.2\r\n', 'SSH banner'],
  ['a TLS handshake', '\x16\x03\x01\x02\x00\x01', 'TLS'],
  ['a TLS alert', '\x15\x03\x03\x00\x02', 'TLS'],
  ['JSON', '{"id":1}', 'JSON'],
  ['a syslog message', '<34>1 2003-10-11T22:14:15.003Z host su - - - x\n', 'syslog message without a length'],
  ['a PROXY header', 'PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n', 'PROXY'],
])('%s that hits the port is named', (_name, wire, hint) => {
  const error = errorOf(lengthPrefixed(), wire);
  expect(error.hint).toContain(hint);
  expect(error.message).toContain(hint);
  // The four bytes of the header are enough.
  expect(errorOf(lengthPrefixed(), wire.slice(0, 4)).hint).toContain(hint);
});

test('lengths of another kind are named, in both directions', () => {
  expect(errorOf(lengthPrefixed(), '83 <34>1 - - - - - -').hint).toContain('octetCounting()');
  expect(errorOf(lengthPrefixed(), '9 <34>1 - - - - - -').hint).toContain('octetCounting()');
  expect(errorOf(octetCounting(), '<34>1 - - - - - -\n').hint).toContain('lines()');
  expect(errorOf(octetCounting(), '\0\0\0\x05hello').hint).toContain('binary length');
  expect(errorOf(decimalLength({ digits: 4 }), '\0\x05hello').hint).toContain('binary length');
  expect(errorOf(decimalLength(), 'GET / HTTP/1.1\r\n').hint).toContain('HTTP request');
});

test('a length in digits says what is wrong with it', () => {
  const message = (framing: Framing, wire: string) => errorOf(framing, wire).message;
  expect(message(octetCounting(), '5\nhello')).toContain('" " must follow the length');
  expect(message(decimalLength({ separator: '\n' }), '5 hello')).toContain('the bytes 0a must follow the length');
  expect(message(decimalLength({ digits: 4 }), '12 x')).toContain('must begin with 4 digits');
  expect(message(decimalLength(), '007 x')).toContain('must not begin with 0');
  expect(message(decimalLength({ adjust: -4 }), '3 x')).toContain('less than the 4 bytes it has to count');
  expect(errorOf(decimalLength(), '9999999999999999 x')).toMatchObject({ size: 9999999999999999n, fatal: true });
});

test.each([
  [{ digits: 0 }, 'digits'],
  [{ digits: 17 }, 'digits'],
  [{ separator: '' }, 'must say where the number ends'],
  [{ separator: '0' }, 'cannot begin with a digit'],
  [{ separator: 'x'.repeat(17) }, 'above 16'],
  [{ separator: 5 as never }, 'text or bytes'],
  [{ adjust: 0.5 }, 'adjust'],
])('decimalLength(%j) is refused', (options, why) => {
  expect(() => decimalLength(options)).toThrow(why);
});

test('a preface is of 1 to 65536 bytes, before a framing of this package', () => {
  for (const size of [0, 65537, 1.5, undefined as never]) expect(() => preface(size, lines())).toThrow('preface');
  const foreign: Framing = { name: 'foreign', decoder: () => ({}) as never, encoder: () => ({}) as never };
  expect(() => preface(1, foreign).decoder()).toThrow('foreign is not a framing of this package');
  expect(() => preface(1, foreign).encoder()).toThrow('foreign is not a framing of this package');
});

test('a length that makes sense in the other byte order is named', () => {
  expect(errorOf(lengthPrefixed(), '\x05\0\0\0hello').hint).toContain('little-endian the length would be 5');
  expect(errorOf(lengthPrefixed({ endian: 'le' }), '\0\0\0\x05hello').hint).toContain(
    'big-endian the length would be 5',
  );
  expect(errorOf(lengthPrefixed({ bytes: 2, maxFrameLength: 99 }), '\x7f\x7f').hint).toBeUndefined();
});

test('an error says where, how much and what came', () => {
  const decoder = lengthPrefixed({ bytes: 2, maxFrameLength: 100 }).decoder();
  decoder.decode(Buffer.from('\0\x01a\0\x01b\xff', 'latin1'));
  const error = ((): FramingError => {
    try {
      decoder.decode(Buffer.alloc(200, 0xfe));
    } catch (caught) {
      return caught as FramingError;
    }
    throw new Error('decoded');
  })();
  expect(error).toBeInstanceOf(FramingError);
  expect(error).toMatchObject({
    name: 'FrameTooLargeError',
    code: 'FRAME_TOO_LARGE',
    framing: 'u16be',
    offset: 6,
    frameIndex: 2,
    fatal: true,
    size: 0xfffe,
    limit: 100,
  });
  expect(error.head.length).toBeLessThanOrEqual(64);
  expect(error.head[0]).toBe(0xff);
  expect(error.message).toBe('u16be: a frame of 65534 bytes is above the limit of 100 (frame 2 at byte 6)');
});

test('the head is a copy of at most 64 bytes', () => {
  const wire = Buffer.alloc(500, 65);
  const error = errorOf(lines({ maxFrameLength: 90 }), wire);
  expect(error.head).toEqual(Buffer.alloc(64, 65));
  expect(error).toMatchObject({ size: 91, limit: 90 });
});

test.each<[string, Framing, string, string]>([
  ['a negative length', lengthPrefixed({ signed: true }), '\xff\xff\xff\xff', 'INVALID_LENGTH'],
  ['a length that does not count itself', lengthPrefixed({ includesHeader: true }), '\0\0\0\x03', 'INVALID_LENGTH'],
  ['less than is stripped', lengthPrefixed({ bytes: 1, strip: 3 }), '\x01x', 'INVALID_LENGTH'],
  ['a varint without end', varint(), '\x80\x80\x80\x80\x80\x01', 'INVALID_LENGTH'],
  ['a netstring without comma', netstring(), '1:ab', 'MALFORMED_FRAME'],
  ['a netstring length beyond all bounds', netstring(), '99999999999999999999', 'FRAME_TOO_LARGE'],
  ['a header line with LF alone', contentLength(), 'Content-Length: 1\n', 'MALFORMED_FRAME'],
  ['a header without end', contentLength({ maxHeader: 10 }), 'Content-Length', 'FRAME_TOO_LARGE'],
  ['no header line', contentLength(), 'hello\r\n\r\n', 'MALFORMED_FRAME'],
  ['Content-Length of 43abc', contentLength(), 'Content-Length: 43abc\r\n\r\n', 'INVALID_LENGTH'],
  ['a length of 30 digits', contentLength(), `Content-Length: ${'9'.repeat(30)}\r\n\r\n`, 'FRAME_TOO_LARGE'],
  ['a bad escape', slip(), '\xdbx', 'MALFORMED_FRAME'],
  ['a tag without end', presets.asn1Ber(), '\x1f\x81\x81\x81\x81\x81\x81\x81', 'MALFORMED_FRAME'],
  ['a wrong version', presets.fcgi(), '\x02', 'MALFORMED_FRAME'],
])('%s: %#', (_name, framing, wire, code) => {
  expect(errorOf(framing, wire)).toMatchObject({ code, fatal: true, offset: 0, frameIndex: 0 });
});

test.each([
  ['an AMQP protocol header', 'AMQP\0\0\x09\x01'],
  ["a PostgreSQL client's first message", '\0\0\0\x08\x04\xd2\x16\x2f'],
  ["a PostgreSQL client's first message", '\0\0\0\x29\0\x03\0\0user\0'],
])('hints at %s', (what, wire) => {
  expect(errorOf(lengthPrefixed({ bytes: 8 }), wire).hint).toBe(`the bytes begin like ${what}`);
});

describe('content-length', () => {
  const block = (headers: string): string => `${headers}\r\n\r\n{}`;
  const framings = [contentLength(), contentLength({ lenient: true })];

  test.each([
    ['a vertical tab', '\x0b2'],
    ['a form feed', '2\x0c'],
    ['no-break spaces', '\xa02\xa0'],
    ['a bare CR', '2\r'],
    ['a NUL', '2\0'],
    ['a next-line character', '\x852'],
  ])('knows no blank but SP and HTAB: %s', (_name, value) => {
    for (const framing of framings) {
      expect(errorOf(framing, block(`Content-Length: ${value}`)).code).toBe('MALFORMED_FRAME');
    }
    expect(
      contentLength()
        .decoder()
        .decode(Buffer.from(block('Content-Length: \t 2\t '))),
    ).toEqual([Buffer.from('{}')]);
  });

  test.each([
    ['a bare CR that hides a second length', 'X: a\rContent-Length: 5\r\nContent-Length: 2'],
    ['a NUL', 'X: a\0b\r\nContent-Length: 2'],
    ['an escape character', 'X: \x1b[2J\r\nContent-Length: 2'],
    ['a no-break space around a name', '\xa0Content-Length\xa0: 2'],
    ['a vertical tab before the colon', 'Content-Length\x0b: 2'],
  ])('refuses %s in a header line, and writes it out in the error', (_name, headers) => {
    for (const framing of framings) {
      const error = errorOf(framing, block(headers));
      expect(error.code).toBe('MALFORMED_FRAME');
      expect(error.message).toMatch(/^[ -~]+$/);
    }
  });

  test('lenient: empty lines between frames are no header block', () => {
    const bytes = Buffer.from('\r\nContent-Length: 1\n\na\n\r\n\nContent-Length: 1\r\n\r\nb\n');
    verifyFraming(contentLength({ lenient: true }), [
      { wire: bytes, frames: [Buffer.from('a'), Buffer.from('b')] },
      { wire: Buffer.from('\rContent-Length: 1\n\na'), frames: [], error: 'MALFORMED_FRAME' },
    ]);
    expect(errorOf(contentLength(), 'Content-Length: 1\r\n\r\na\r\nContent-Length: 1\r\n\r\nb').code).toBe(
      'MALFORMED_FRAME',
    );
  });
});

describe('a custom framing', () => {
  test('refuses bytes by throwing; the error becomes the cause', () => {
    const cause = new Error('no such opcode');
    const framing = custom('opcodes', () => {
      throw cause;
    });
    const error = errorOf(framing, 'x');
    expect(error).toMatchObject({ code: 'MALFORMED_FRAME', cause, fatal: true });
    expect(error.message).toContain('no such opcode');
  });

  test('that answers nonsense is told so', () => {
    const wrong = (answer: object): Framing => custom('wrong', () => answer as { need: number });
    for (const answer of [{ consumed: 0 }, { consumed: 9 }, { need: -1 }, { frame: [0, 2], consumed: 1 }]) {
      expect(() => wrong(answer).decoder().decode(Buffer.from('x'))).toThrow('which cannot be');
    }
  });

  test('cannot hold more than its limit, however it asks for more', () => {
    const greedy = custom('greedy', () => ({ need: 0 }), { maxFrameLength: 10 });
    const decoder = greedy.decoder();
    expect(() => {
      for (let i = 0; i < 200; i++) decoder.decode(Buffer.alloc(1000));
    }).toThrow('above the limit of 10');
    const announcing = custom('announcing', () => ({ need: 2 ** 40 }));
    expect(errorOf(announcing, 'x').code).toBe('FRAME_TOO_LARGE');
  });

  test('may drop bytes, and sees the end', () => {
    const words = custom(
      'words',
      (buf, start, end, ended) => {
        if (buf[start] === 32) return { consumed: 1 };
        const space = buf.indexOf(32, start);
        if (space >= 0) return { frame: [start, space], consumed: space + 1 - start };
        return ended ? { frame: [start, end], consumed: end - start } : { need: 0 };
      },
      { maxFrameLength: 100 },
    );
    const decoder = words.decoder();
    const got: string[] = [];
    for (const byte of Buffer.from('  two   words')) decoder.push(Buffer.of(byte), (f) => void got.push(String(f)));
    decoder.end((f) => void got.push(String(f)));
    expect(got).toEqual(['two', 'words']);
  });
});

describe('parseFraming', () => {
  test.each([
    'u8',
    'u16be',
    'u16le',
    'u24be',
    'u32be',
    'u32le',
    'u40be',
    'u64be',
    'i8',
    'i32le',
    'varint',
    'lines',
    'crlf',
    'fixed:16',
    'netstring',
    'decimal',
    'decimal:4',
    'octet-counting',
    'content-length',
    'slip',
    'cobs',
    'tpkt',
    'fcgi',
    'giop',
    'asn1-ber',
    'oncrpc',
    'grpc',
    'kafka',
    'postgres',
  ])('%s is a framing of that name', (spec) => {
    expect(parseFraming(spec).name).toBe(spec);
    expect(parseFraming(`${spec},max=4096`).decoder().maxFrameLength).toBe(4096);
  });

  test('delim:0d0a is a delimiter in hexadecimal', () => {
    expect(parseFraming('delim:0d0a').decoder().decode(Buffer.from('a\nb\r\n')).map(String)).toEqual(['a\nb']);
  });

  test.each(['', 'u12be', 'u32', 'delim:', 'delim:0', 'delim:xy', 'fixed:0', 'toString', 'u32be,max', 'u32be,foo=1'])(
    'of "%s" says what is known',
    (spec) => {
      if (spec === 'u32') expect(parseFraming(spec).name).toBe('u32be');
      else expect(() => parseFraming(spec)).toThrow(TypeError);
    },
  );
});
