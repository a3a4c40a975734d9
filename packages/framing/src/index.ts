/**
 * # Where does a message end?
 *
 * TCP carries bytes, not messages. One `write` is not one read: the network cuts the stream where it likes and joins
 * what it likes. A program that takes what a read brings for a message works on the programmer's desk, where messages
 * are small and the machine is idle, and breaks under load. So every protocol says in its bytes where a message ends,
 * and every program has to put messages together again. That is framing, and it is all that this package does.
 *
 * ```text
 *   written       [ hello ][ world ]
 *   on the wire   05 hello 05 world
 *   read          05 he | llo 05 wor | ld          or all at once, or byte by byte
 *   frames        hello   world                    always
 * ```
 *
 * ## The contract, in three situations
 *
 * A decoder is given a chunk, whatever a read has brought.
 *
 * 1. *Less than a frame*: nothing comes out. The decoder keeps what came and waits (`state` is 'partial'; `missing` says
 *    for how much, when that is known).
 * 2. *Exactly one frame*: it comes out, as a view of the chunk.
 * 3. *More than one*: all whole ones come out in order; what is left is the first situation.
 *
 * The machinery is equivalent to this loop, for a length of four bytes:
 *
 * ```ts
 * let held = Buffer.alloc(0);
 * function push(chunk: Buffer, on: (frame: Buffer) => void) {
 *   held = Buffer.concat([held, chunk]);
 *   while (held.length >= 4 && held.length >= 4 + held.readUInt32BE(0)) {
 *     const end = 4 + held.readUInt32BE(0);
 *     on(held.subarray(4, end));
 *     held = held.subarray(end);
 *   }
 * }
 * ```
 *
 * only that it does not copy a chunk that holds whole frames, does not look twice at a byte, does not believe a header
 * that announces four gigabytes, and knows what to say when the stream ends in the middle.
 *
 * ## One law
 *
 * However the bytes are cut, the frames and the errors are the same, in the same order. All framings here are held to
 * it by the same tests; {@link verifyFraming} holds yours to it.
 *
 * ## The smallest programs
 *
 * ```ts
 * import { framed, lengthPrefixed } from '@sendall/framing';
 *
 * const link = framed(socket, lengthPrefixed());        // any duplex stream
 * link.send('hello');
 * for await (const frame of link) console.log(String(frame));
 * ```
 *
 * ```ts
 * import { lines } from '@sendall/framing';
 *
 * const decoder = lines().decoder();                    // no stream at all: bytes in, frames out
 * socket.on('data', (chunk) => decoder.push(chunk, (line) => console.log(String(line))));
 * socket.on('end', () => decoder.end());                // throws when the stream ends inside a line
 * ```
 *
 * ## The parts
 *
 * A *framing* is an immutable description ({@link lengthPrefixed}, {@link lines}, …). It makes *decoders* and *encoders*,
 * which are synchronous and know no transport. *Adaptors* join them to what bytes come from: {@link framed} for duplex
 * streams, {@link decodeAsync} for async iterables, {@link decodeStream} and {@link decodeWeb} for streams.
 *
 * @module @sendall/framing
 */

export { decodeAsync, type DecodedFrames } from './adaptors/async-iterable.js';
export { framed, type Framed, type FramedOptions } from './adaptors/framed.js';
export { decodeStream, encodeStream } from './adaptors/node-stream.js';
export { decodeWeb, encodeWeb } from './adaptors/web-stream.js';
export * from './errors.js';
export * from './framing.js';
export { cobs, type CobsOptions } from './framings/cobs.js';
export { contentLength, type ContentLengthOptions } from './framings/content-length.js';
export { custom, type CustomOptions, type Split, type SplitFunction } from './framings/custom.js';
export { decimalLength, type DecimalLengthOptions, octetCounting } from './framings/decimal-length.js';
export { delimited, type DelimitedOptions } from './framings/delimited.js';
export { fixed } from './framings/fixed.js';
export { lengthPrefixed, type LengthPrefixedOptions } from './framings/length-prefixed.js';
export { type LineDecoder, type LineFraming, lines, type LinesOptions } from './framings/lines.js';
export { netstring } from './framings/netstring.js';
export { preface } from './framings/preface.js';
export { presets } from './framings/presets.js';
export { slip, type SlipOptions } from './framings/slip.js';
export { varint, type VarintOptions } from './framings/varint.js';
export { parseFraming } from './parse.js';
export { type FramingCase, verifyFraming, type VerifyOptions } from './verify.js';
