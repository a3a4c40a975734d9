// Framings from a short text: what each setting means, and what is refused.
import { decimalLength, type Framing, lengthPrefixed, lines, parseFraming, preface } from '@sendall/framing';
import { array, assert, boolean, constant, constantFrom, integer, property, record, uint8Array } from 'fast-check';
import { expect, test } from 'vitest';

test.each([
  ['u32be,offset=1.5', 'expected offset=BYTES'],
  ['u32be,offset=0x10', 'expected offset=BYTES'],
  ['u32be,offset=-1', 'expected offset=BYTES'],
  ['u32be,adjust=', 'expected adjust=BYTES'],
  ['u32be,strip=1,strip=2', 'strip stands there twice'],
  ['u32be,includes-header=1', 'expected includes-header'],
  ['u32be,separator=20', 'behind u32be may stand'],
  ['lines,offset=1', 'behind lines may stand max=BYTES, preface=BYTES'],
  ['decimal,offset=1', 'behind decimal may stand'],
  ['decimal,separator=xy', 'expected separator=HEX'],
  ['decimal,separator=30', 'a separator cannot begin with a digit'],
  ['decimal:17', 'digits must be a whole number from 1 to 16'],
  ['u32be,offset=65536', 'offset must be a whole number from 0 to 65535'],
  ['lines,preface=0', 'size must be a whole number from 1 to 65536'],
  ['lines,preface=65537', 'size must be a whole number from 1 to 65536'],
  ['line,adjust=1', 'unknown framing "line"'],
])('%s: %s', (spec, why) => {
  expect(() => parseFraming(spec)).toThrow(why);
});

test('a preface keeps what else the framing has', () => {
  const decoder = preface(3, lines()).decoder();
  expect(decoder.decodeText(Buffer.from('PRI'))).toEqual(['PRI']);
  expect(decoder.decodeText(Buffer.from('a\nb\n'))).toEqual(['a', 'b']);
  const at = preface(3, lines()).decoder();
  expect(at.decodeText(Buffer.from('PRIa\nb\nc'))).toEqual(['PRI', 'a', 'b']);
});

test('a decoder that is made as new waits for its preface again', () => {
  const decoder = parseFraming('u8,preface=2').decoder();
  const wire = Buffer.from('ab\x01c');
  expect(decoder.decode(wire).map(String)).toEqual(['ab', 'c']);
  decoder.reset();
  expect(decoder.decode(wire).map(String)).toEqual(['ab', 'c']);
});

test('what is missing of a preface is known', () => {
  const decoder = parseFraming('lines,preface=8').decoder();
  decoder.decode(Buffer.from('AMQ'));
  expect([decoder.state, decoder.missing]).toEqual(['partial', 5]);
});

test('a long message behind decimal digits costs no more than its bytes, byte by byte', () => {
  const wire = decimalLength().encoder().encode(Buffer.alloc(200_000));
  const decoder = decimalLength().decoder();
  for (const byte of wire) decoder.decode(Buffer.of(byte));
  expect(decoder.stats).toMatchObject({ frames: 1, payloadBytes: 200_000 });
  expect(decoder.stats.copiedBytes).toBeLessThan(3 * wire.length);
});

test('length settings mean what the options of lengthPrefixed mean', () => {
  const bytes = uint8Array({ maxLength: 60 });
  const layout = record(
    {
      bits: constantFrom(8, 16, 24, 32, 40, 48, 56, 64),
      endian: constantFrom('be', 'le'),
      signed: boolean(),
      offset: integer({ min: 0, max: 9 }),
      adjust: integer({ min: -12, max: 12 }),
      strip: integer({ min: 0, max: 9 }),
      includesHeader: constant(true),
      maxFrameLength: integer({ min: 0, max: 300 }),
      first: integer({ min: 1, max: 9 }),
    },
    { requiredKeys: ['bits', 'endian', 'signed'] },
  );
  assert(
    property(layout, bytes, ({ bits, first, ...options }, wire) => {
      const { signed, endian, offset, adjust, strip, includesHeader, maxFrameLength } = options;
      const settings = [
        offset !== undefined && `offset=${offset}`,
        adjust !== undefined && ` adjust=${adjust}`,
        strip !== undefined && `strip=${strip}`,
        includesHeader && 'includes-header',
        maxFrameLength !== undefined && `max=${maxFrameLength}`,
        first !== undefined && `preface=${first}`,
      ].filter((each) => typeof each === 'string');
      const spec = [`${signed ? 'i' : 'u'}${bits}${bits === 8 ? '' : endian}`, ...settings].join(',');
      const plain = lengthPrefixed({ ...options, bytes: (bits / 8) as 4 });
      const results = [parseFraming(spec), first === undefined ? plain : preface(first, plain)].map((framing) => {
        const frames: string[] = [];
        try {
          const decoder = framing.decoder();
          decoder.push(wire, (frame) => void frames.push(frame.toString('hex')));
          decoder.end();
        } catch (error) {
          frames.push(String(error));
        }
        return frames;
      });
      expect(results[0]).toEqual(results[1]);
    }),
  );
});

test('decimal settings mean what the options of decimalLength mean', () => {
  const digits = integer({ min: 1, max: 16 });
  const separator = uint8Array({ minLength: 1, maxLength: 4 }).filter(([byte = 0]) => byte < 48 || byte > 57);
  const options = record({ digits, separator, adjust: integer({ min: -9, max: 0 }) }, { requiredKeys: [] });
  assert(
    property(options, array(uint8Array({ maxLength: 20 })), (given, sent) => {
      const kind = given.digits === undefined ? 'decimal' : `decimal:${given.digits}`;
      const hex = given.separator && `separator=${Buffer.from(given.separator).toString('hex')}`;
      const adjust = given.adjust === undefined ? undefined : `adjust=${given.adjust}`;
      const parsed = parseFraming([kind, hex, adjust].filter((each) => each !== undefined).join(','));
      const encode = (framing: Framing): string => {
        try {
          return framing.encoder().encodeAll(sent).toString('hex');
        } catch (error) {
          return String(error);
        }
      };
      const wire = encode(decimalLength(given));
      expect(encode(parsed)).toBe(wire);
      if (/^[0-9a-f]*$/.test(wire)) {
        expect(parsed.decoder().decode(Buffer.from(wire, 'hex'))).toEqual(sent.map((each) => Buffer.from(each)));
      }
    }),
  );
});
