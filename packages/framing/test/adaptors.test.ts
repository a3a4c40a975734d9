/* oxlint-disable unicorn/consistent-function-scoping -- small functions stand beside their use */
import { once } from 'node:events';
import { pipeline as pipelineThen, Readable, type Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ReadableStream } from 'node:stream/web';
import {
  decodeAsync,
  type DecoderOptions,
  decodeStream,
  decodeWeb,
  encodeStream,
  encodeWeb,
  type Framing,
  lengthPrefixed,
  lines,
  netstring,
  slip,
} from '@sendall/framing';
import { describe, expect, test } from 'vitest';
import { cutEvery } from './dist/cutting.js';

const u8 = lengthPrefixed({ bytes: 1, maxFrameLength: 9 });

async function* chunksOf(wire: string, size: number): AsyncGenerator<Buffer> {
  yield* cutEvery(Buffer.from(wire, 'latin1'), size);
}

/** Frames as text, then the code of the error, by each adaptor that decodes. */
const adaptors: Record<string, (framing: Framing, source: AsyncIterable<Buffer>) => Promise<string[]>> = {
  decodeAsync: (framing, source) => collect(decodeAsync(source, framing)),
  'decodeAsync, batches': async (framing, source) => collect(decodeAsync(source, framing).batches()),
  decodeStream: (framing, source) => {
    const frames = decodeStream(framing);
    pipelineThen(Readable.from(source, { objectMode: false }), frames, () => {});
    return collect(frames);
  },
  decodeWeb: (framing, source) => collect(ReadableStream.from(source).pipeThrough(decodeWeb(framing))),
  'decodeWeb, batch': (framing, source) =>
    collect(ReadableStream.from(source).pipeThrough(decodeWeb(framing, { batch: true }))),
};

async function collect(frames: AsyncIterable<unknown>): Promise<string[]> {
  const got: string[] = [];
  try {
    for await (const each of frames) for (const frame of Array.isArray(each) ? each : [each]) got.push(String(frame));
  } catch (error) {
    got.push((error as { code: string }).code);
  }
  return got;
}

describe.each(Object.entries(adaptors))('%s', (_name, frames) => {
  test.each([1, 2, 3, 100])('frames in order, empty ones too, from chunks of %i', async (size) => {
    expect(await frames(u8, chunksOf('\x01a\x00\x03bcd', size))).toEqual(['a', '', 'bcd']);
  });

  test('frames before an error come first', async () => {
    expect(await frames(u8, chunksOf('\x01a\x01b\x01c\x0a', 100))).toEqual(['a', 'b', 'c', 'FRAME_TOO_LARGE']);
    expect(await frames(u8, chunksOf('\x01a\x01b\x02c', 100))).toEqual(['a', 'b', 'TRUNCATED_FRAME']);
  });

  test('what only the end completes is delivered', async () => {
    expect(await frames(lines({ onEnd: 'deliver' }), chunksOf('a\nb', 100))).toEqual(['a', 'b']);
  });

  test('an error of the source comes through, behind the frames before it', async () => {
    async function* failing(): AsyncGenerator<Buffer> {
      yield Buffer.from('\x01a');
      throw Object.assign(new Error('cable pulled'), { code: 'CABLE' });
    }
    expect((await frames(u8, failing())).at(-1)).toBe('CABLE');
  });

  test('small frames are copied out of big chunks, big ones are not', async () => {
    async function* one(): AsyncGenerator<Buffer> {
      const big = Buffer.alloc(65_536, 1);
      big.write('small\n');
      big[60_000] = 10;
      yield big;
    }
    const framing = lines({ onEnd: 'discard' });
    const sizes: number[] = [];
    const seen: Framing = {
      ...framing,
      decoder: (options) => framing.decoder(options),
    };
    const source = decodeAsync(one(), seen);
    for await (const frame of source) sizes.push(frame.buffer.byteLength);
    expect(sizes[0]).toBeLessThanOrEqual(8192);
    expect(sizes[1]).toBe(65_536);
  });
});

describe('a small frame that is kept', () => {
  // Whatever size Buffer's own pool has.
  const most = 8192;
  test.each<[string, Framing, DecoderOptions, string]>([
    ['cut in two', lines(), {}, 'sma|ll\n'],
    ['copied', lines(), { copy: 'always' }, 'small\n|'],
    ['behind a length', lengthPrefixed({ bytes: 1 }), {}, '\x05sm|all'],
    ['put together from its escapes', slip(), {}, '\xdb\xdcmall\xc0|'],
  ])('holds at most 8 KiB alive: %s', (_name, framing, options, wire) => {
    const decoder = framing.decoder(options);
    const frames = wire.split('|').flatMap((part) => decoder.decode(Buffer.from(part, 'latin1')));
    expect(frames).toHaveLength(1);
    expect(frames[0]?.buffer.byteLength).toBeLessThanOrEqual(most);
  });

  test('shares no byte with another one', () => {
    const decoder = lines().decoder({ copy: 'always' });
    const kept = Array.from({ length: 3000 }, (_, i) => decoder.decode(Buffer.from(`line ${i}\n`))[0]);
    kept.forEach((frame, i) => expect(String(frame)).toBe(`line ${i}`));
  });
});

describe('decodeAsync', () => {
  test('leaving the loop ends the source', async () => {
    let ended = false;
    async function* endless(): AsyncGenerator<Buffer> {
      try {
        for (;;) yield Buffer.from('\x01a');
      } finally {
        ended = true;
      }
    }
    for await (const frame of decodeAsync(endless(), u8)) {
      expect(String(frame)).toBe('a');
      break;
    }
    expect(ended).toBe(true);
  });

  test('next may be called ahead', async () => {
    const frames = decodeAsync(chunksOf('\x01a\x01b\x01c\x01d', 4), u8)[Symbol.asyncIterator]();
    const asked = await Promise.all([1, 2, 3, 4, 5].map(() => frames.next()));
    expect(asked.map((each) => (each.done ? 'done' : String(each.value)))).toEqual(['a', 'b', 'c', 'd', 'done']);
  });

  test('frameTimeout ends a source that hangs inside a frame', async () => {
    async function* hanging(): AsyncGenerator<Buffer> {
      yield Buffer.from('\x01a\x05b');
      await new Promise(() => {});
    }
    const got: string[] = [];
    const reading = (async () => {
      for await (const frame of decodeAsync(hanging(), u8, { frameTimeout: 20 })) got.push(String(frame));
    })();
    await expect(reading).rejects.toMatchObject({ code: 'FRAME_TIMEOUT' });
    expect(got).toEqual(['a']);
  });

  test('frameTimeout counts over all chunks of a frame', async () => {
    async function* dribbling(): AsyncGenerator<Buffer> {
      yield Buffer.from([0, 0, 1, 0]);
      for (;;) {
        await new Promise((resolve) => void setTimeout(resolve, 5));
        yield Buffer.from('.');
      }
    }
    const reading = collect(decodeAsync(dribbling(), lengthPrefixed(), { frameTimeout: 50 }));
    expect(await reading).toEqual(['FRAME_TIMEOUT']);
  });
});

describe('Node streams', () => {
  test('a slow reader stops decoding inside a chunk', async () => {
    const stream = decodeStream(lengthPrefixed({ bytes: 1 }));
    let accepted = false;
    stream.write(Buffer.from('\x01a'.repeat(10_000)), () => {
      accepted = true;
    });
    await new Promise((resolve) => void setImmediate(resolve));
    expect(stream.readableLength).toBeLessThan(100);
    expect(accepted).toBe(false);
    stream.end();
    let frames = 0;
    for await (const frame of stream) frames += String(frame) === 'a' ? 1 : 0;
    expect([frames, accepted]).toEqual([10_000, true]);
  });

  test('encode and decode, through a pipeline', async () => {
    const sent = Array.from({ length: 500 }, (_, i) => `${i}`.repeat(i % 50));
    const got: string[] = [];
    await pipeline(
      Readable.from(sent),
      encodeStream(netstring()),
      decodeStream(netstring()),
      async (frames: AsyncIterable<Buffer>) => {
        for await (const frame of frames) got.push(String(frame));
      },
    );
    expect(got).toEqual(sent);
  });

  test('a refused payload destroys the encoder, behind the frames before it', async () => {
    const stream = encodeStream(lines());
    stream.cork();
    for (const each of ['a', 'b', 'c\nd']) stream.write(each);
    stream.uncork();
    const got: string[] = [];
    stream.on('data', (chunk: Buffer) => got.push(String(chunk)));
    const [error] = (await once(stream, 'error')) as [{ code: string }];
    expect([got.join(''), error.code]).toEqual(['a\nb\n', 'MALFORMED_FRAME']);
  });

  test('frameTimeout destroys the decoder', async () => {
    const stream: Transform = decodeStream(u8, { frameTimeout: 20 });
    stream.write(Buffer.from('\x05x'));
    const [error] = (await once(stream.resume(), 'error')) as [{ code: string }];
    expect(error.code).toBe('FRAME_TIMEOUT');
  });
});

test('web streams, both ways', async () => {
  const sent = ['a', '', 'bcd'];
  const frames = ReadableStream.from(sent).pipeThrough(encodeWeb(u8)).pipeThrough(decodeWeb(u8));
  expect(await collect(frames)).toEqual(sent);
});
