import { crc32 as portable } from 'node:zlib';
import { array, assert, property, uint8Array } from 'fast-check';
import { expect, test } from 'vitest';
import { crc32 } from '../../dist/protocol/crc32.js';

/** Above the size at which the library is loaded. */
const MANY = Buffer.alloc(5 * 1024 * 1024, 'many bytes ');

const agree = property(array(uint8Array({ maxLength: 5000 })), uint8Array({ minLength: 1 }), (pieces, last) => {
  const all = [...pieces, last];
  expect(all.reduce((value, piece) => crc32(piece, value), 0)).toBe(portable(Buffer.concat(all)));
});

test('the sum of pieces is that of RFC 1952, before and after the library takes over', async () => {
  expect(crc32(Buffer.from('123456789'), 0)).toBe(0xcbf43926);
  assert(agree);
  expect(crc32(MANY, 7)).toBe(portable(MANY, 7));
  await import('@node-rs/crc32');
  expect(crc32(MANY, 7)).toBe(portable(MANY, 7));
  assert(agree);
});

test('views into bigger memory are summed, and nothing around them', () => {
  const view = MANY.subarray(3, 100_003);
  expect(crc32(view, 0)).toBe(portable(Buffer.from(view), 0));
  expect(crc32(view.subarray(0, 0), 5)).toBe(5);
  expect(crc32(new Uint8Array(0), 5)).toBe(5);
});
