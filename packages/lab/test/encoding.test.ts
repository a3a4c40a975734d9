/** Detects the encoding of an output, however its bytes are cut. */
import * as fc from 'fast-check';
import iconv from 'iconv-lite';
import { describe, expect, it } from 'vitest';
import { detectEncoding, textDecoder } from '@sendall/lab';

const gbk = (text: string) => iconv.encode(text, 'gbk');

function decodeCut(bytes: Buffer, cuts: number[]): string {
  const decoder = textDecoder('auto');
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((left, right) => left - right);
  let text = '';
  let from = 0;
  for (const place of [...places, bytes.length]) {
    text += decoder.write(bytes.subarray(from, place));
    from = place;
  }
  return text + decoder.end();
}

describe('--encoding auto', () => {
  it.each([
    '执行成功',
    '中文',
    '联通',
    '一',
    '你好，世界',
    'total 4\n总计 4\n',
    '命令的执行结果是',
    '驱动器 C 中的卷是 系统',
  ])('tells GBK from UTF-8 for %s', (text) => {
    expect(detectEncoding(Buffer.from(text))).toBe('utf-8');
    expect(detectEncoding(gbk(text))).toBe('gbk');
    expect(decodeCut(Buffer.from(text), [])).toBe(text);
    expect(decodeCut(gbk(text), [])).toBe(text);
  });

  it.each(['naïve café', 'Привет, мир', 'Καλημέρα', '日本語', '😀'])('keeps other UTF-8: %s', (text) => {
    expect(decodeCut(Buffer.from(text), [])).toBe(text);
  });

  it('gives the same text however the bytes are cut', () => {
    const bytes = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 80 }).map((text) => Buffer.from(text)),
      fc
        .array(fc.constantFrom(...Array.from('执行成功中文一联通abc \n')), { maxLength: 80 })
        .map((text) => gbk(text.join(''))),
      fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(bytes, fc.array(fc.nat(), { maxLength: 12 }), (whole, cuts) => {
        expect(decodeCut(whole, cuts)).toBe(decodeCut(whole, []));
      }),
      { numRuns: 500 },
    );
  });

  it.each(['813000', '81308130', 'fe7f41', 'a2e380ff', '81'])(
    'reads %s, which is no text, as one would uncut',
    (hex) => {
      const bytes = Buffer.from(hex, 'hex');
      const whole = textDecoder('gbk');
      const text = whole.write(bytes) + whole.end();
      const cut = textDecoder('gbk');
      expect([...bytes].map((byte) => cut.write(Uint8Array.of(byte))).join('') + cut.end()).toBe(text);
    },
  );

  it('decides again for each answer', () => {
    const decoder = textDecoder('auto');
    expect(decoder.write(gbk('执行成功')) + decoder.end()).toBe('执行成功');
    expect(decoder.write(Buffer.from('执行成功')) + decoder.end()).toBe('执行成功');
  });

  it('lets ASCII pass immediately', () => {
    expect(textDecoder('auto').write(Buffer.from('hello'))).toBe('hello');
  });
});
