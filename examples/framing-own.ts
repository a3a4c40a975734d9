// A framing of your own: a frame is a type byte, a length byte and that many bytes; a type of 0 is filler on an idle
// line. The function only finds the next frame. Chunks, limits, errors and adaptors come for free, and verifyFraming
// checks that every cut of the bytes gives the same frames.
import { custom, decodeAsync, verifyFraming } from '@sendall/framing';

const records = custom(
  'records',
  (buf, start, end) => {
    if (buf[start] === 0) return { consumed: 1 };
    if (end - start < 2) return { need: 2 };
    const size = 2 + (buf[start + 1] as number);
    if (end - start < size) return { need: size };
    return { frame: [start, start + size], consumed: size };
  },
  { maxFrameLength: 257, encode: (payload) => payload },
);

const wire = Buffer.from('\x00\x01\x02hi\x00\x00\x07\x00');
const frames = [Buffer.from('\x01\x02hi'), Buffer.from('\x07\x00')];
verifyFraming(records, [{ wire, frames }]);
console.log('the same frames in every cut');

async function* twoReads(): AsyncGenerator<Buffer> {
  yield wire.subarray(0, 3);
  yield wire.subarray(3);
}
for await (const frame of decodeAsync(twoReads(), records)) {
  console.log(`type ${frame[0]}: ${frame.length - 2} bytes`);
}
