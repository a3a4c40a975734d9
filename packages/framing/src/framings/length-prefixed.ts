/** Frames behind a binary length: options, layout and decoder. */
import { Buffer } from 'node:buffer';
import { FrameDecoder } from '../decoder.js';
import { ChecksumError, InvalidLengthError } from '../errors.js';
import type { Bytes, Checksum, DecoderOptions, Framing, Limits, OnFrame, OnSpan } from '../framing.js';
import {
  callback,
  type Checked,
  checkOptions,
  flag,
  limitRules,
  other,
  type Policy,
  policyOf,
  whole,
  word,
  wrongOption,
} from '../options.js';
import { View } from '../view.js';
import { checksumValue, type Layout, readBig, readLength, readUnsigned } from './length-field.js';
import { LengthPrefixedEncoder } from './length-prefixed-encoder.js';
import { makeFraming } from './make.js';
import { Markers } from './markers.js';

/** Options of {@link lengthPrefixed}. A frame is: `offset` bytes, the length field, what it counts, the checksum. */
export interface LengthPrefixedOptions extends Limits {
  /** Width of the length field. @default 4 */
  bytes?: 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;
  /** Byte order of the length field. @default 'be' */
  endian?: 'be' | 'le';
  /** Bytes before the length field, 0 to 65535. @default 0, with `sync` the length of the longest marker */
  offset?: number;
  /** Bytes behind the length field = its value + `adjust`. @default 0 */
  adjust?: number;
  /** The value counts the header (offset and length field) too: the same as `adjust` less by their bytes. @default false */
  includesHeader?: boolean;
  /** Bytes taken off the frame's beginning before it is delivered; 0 delivers it whole. @default the header */
  strip?: number;
  /** The field is a two's complement number; a negative one is an {@link InvalidLengthError}. @default false */
  signed?: boolean;
  /** The field is AND-ed with this first, for example 0x7fffffff for ONC RPC. @default no mask */
  mask?: number;
  /** Markers that frames begin with (inside `offset`): bytes before one are skipped. @default none */
  sync?: readonly Bytes[];
  /** A checksum behind the payload. @default none */
  checksum?: Checksum;
  /**
   * `skip`: a frame with a wrong checksum is reported and dropped; with `sync`, so is a header with an impossible
   * length. `fail`: they end decoding.
   * @default 'fail'
   */
  onMalformed?: 'fail' | 'skip';
}

/**
 * Frames that begin with their length, in whatever way protocols have come up with.
 *
 * ```ts
 * lengthPrefixed()                                          // u32be: 00 00 00 02 'h' 'i'
 * lengthPrefixed({ bytes: 2, endian: 'le' })                // u16le: 02 00 'h' 'i'
 * lengthPrefixed({ bytes: 2, includesHeader: true })        // 00 04 'h' 'i'
 * lengthPrefixed({ offset: 1, strip: 0 })                   // gRPC: flag byte, u32be; frames whole
 * lengthPrefixed({ bytes: 1, sync: [Buffer.of(0xaa)] })     // serial: noise … aa 02 'h' 'i'
 * ```
 * @throws OptionError for an option that is not known or does not fit
 */
export function lengthPrefixed(options?: LengthPrefixedOptions): Framing {
  return lengthPrefixedAs(undefined, options);
}

/** The same under another name, for protocols that have one. */
export function lengthPrefixedAs(name: string | undefined, options?: LengthPrefixedOptions): Framing {
  const where = name ?? 'lengthPrefixed';
  const checked = checkOptions(where, options, rules);
  const policy = policyOf(checked);
  const plain = layoutOf(where, checked);
  const layout = name === undefined ? plain : { ...plain, name };
  return makeFraming(
    layout.name,
    (o) => new LengthPrefixedDecoder(layout, policy, o),
    (o) => new LengthPrefixedEncoder(layout, policy, o),
  );
}

const { MAX_SAFE_INTEGER } = Number;

const rules = {
  ...limitRules,
  bytes: whole(4, 1, 8),
  endian: word('be', 'le'),
  offset: whole(undefined, 0, 65_535),
  adjust: whole(0, -MAX_SAFE_INTEGER, MAX_SAFE_INTEGER),
  includesHeader: flag,
  strip: whole(undefined, 0, MAX_SAFE_INTEGER),
  signed: flag,
  mask: whole(undefined, 1, MAX_SAFE_INTEGER),
  sync: other<readonly Bytes[]>(),
  checksum: other<Checksum>(),
  onMalformed: word('fail', 'skip'),
};

const checksumRules = { bytes: whole(4, 1, 8), endian: word('be', 'le'), compute: callback<Checksum['compute']>() };

function layoutOf(where: string, o: Checked<typeof rules>): Layout {
  const { bytes, adjust, signed, mask } = o;
  const little = o.endian === 'le';
  const sync = o.sync === undefined ? undefined : new Markers(where, o.sync);
  const offset = o.offset ?? sync?.longest ?? 0;
  if (sync !== undefined && sync.longest > offset) {
    const why = `a sync marker of ${sync.longest} bytes does not fit in an offset of ${offset}`;
    throw wrongOption(where, 'sync', why);
  }
  const header = offset + bytes;
  return {
    name: `${signed ? 'i' : 'u'}${bytes * 8}${bytes === 1 ? '' : little ? 'le' : 'be'}`,
    bytes,
    little,
    offset,
    header,
    adjust: o.includesHeader ? adjust - header : adjust,
    strip: o.strip ?? header,
    signed,
    mask,
    sync,
    checksum: checksumOf(where, o.checksum),
    skipMalformed: o.onMalformed === 'skip',
  };
}

function checksumOf(where: string, checksum: Checksum | undefined): Layout['checksum'] {
  if (checksum === undefined) return undefined;
  const { bytes, endian, compute } = checkOptions(`${where}: checksum`, checksum, checksumRules);
  if (compute === undefined) throw wrongOption(where, 'checksum', 'checksum.compute must be a function');
  return { bytes, endian, compute: (payload) => checksum.compute(payload) };
}

// The length fields that have hot loops.
const OTHER = 0;
const U8 = 1;
const U16BE = 2;
const U16LE = 3;
const U32LE = 4;
const U32BE = 5;
const PLAIN_U32BE = 6;

function hotField(layout: Layout): number {
  if (layout.sync || layout.checksum || layout.mask !== undefined || layout.strip > layout.header) return OTHER;
  if (layout.signed && layout.bytes !== 4) return OTHER;
  if (layout.bytes === 1) return U8;
  if (layout.bytes === 2) return layout.little ? U16LE : U16BE;
  if (layout.bytes !== 4) return OTHER;
  if (layout.little) return U32LE;
  return layout.offset === 0 && layout.adjust === 0 && layout.strip === 4 ? PLAIN_U32BE : U32BE;
}

function readU32BE(buf: Buffer, at: number): number {
  return (
    (((buf[at] as number) << 24) |
      ((buf[at + 1] as number) << 16) |
      ((buf[at + 2] as number) << 8) |
      (buf[at + 3] as number)) >>>
    0
  );
}

function readHot(buf: Buffer, at: number, field: number): number {
  if (field >= U32BE) return readU32BE(buf, at);
  const first = buf[at] as number;
  if (field === U8) return first;
  const second = buf[at + 1] as number;
  if (field === U16BE) return (first << 8) | second;
  if (field === U16LE) return (second << 8) | first;
  return (((buf[at + 3] as number) << 24) | ((buf[at + 2] as number) << 16) | (second << 8) | first) >>> 0;
}

class LengthPrefixedDecoder extends FrameDecoder {
  readonly #layout: Layout;
  readonly #hot: number;

  constructor(layout: Layout, policy: Policy, options?: DecoderOptions) {
    super(layout.name, policy, options);
    this.#layout = layout;
    this.#hot = hotField(layout);
  }

  /** Frames whose length field is as plain as most protocols have it. */
  protected override hurry(spans: boolean, list: Buffer[] | undefined): void {
    const field = this.#hot;
    if (field === OTHER) return;
    // No frame inside the chunk can be above the limit: it need not be looked at.
    const unlimited = this.max >= this.till - this.at;
    if (spans && field === PLAIN_U32BE && unlimited && !this.policy.dropEmpty) return this.#spansU32BE();
    const { chunk, till, max, on } = this;
    const { offset, header, adjust, strip } = this.#layout;
    const { buffer, byteOffset } = chunk;
    const least = this.policy.dropEmpty ? 1 : 0;
    const began = this.at;
    let at = began;
    let frames = 0;
    let largest = 0;
    try {
      while (till - at >= header) {
        const size = readHot(chunk, at + offset, field) + adjust;
        const from = at + strip;
        const to = at + header + size;
        if (size < least || size > max || to > till) break;
        this.at = at = to;
        frames++;
        if (size > largest) largest = size;
        if (spans) {
          if ((on as OnSpan)(chunk, from, to) === false) this.stopped = true;
        } else {
          const frame = new View(buffer, byteOffset + from, to - from);
          if (list !== undefined) list.push(frame);
          else if ((on as OnFrame)(frame) === false) this.stopped = true;
        }
        if (this.stopped || this.interrupted) break;
      }
    } finally {
      this.tally(frames, at - began - frames * strip, largest);
    }
  }

  /** The same with everything known, for the commonest prefix of all: this is as fast as a loop in JavaScript gets. */
  #spansU32BE(): void {
    const on = this.on as OnSpan;
    const { chunk, till } = this;
    const began = this.at;
    let at = began;
    let frames = 0;
    let largest = 0;
    try {
      while (till - at >= 4) {
        const size = readU32BE(chunk, at);
        const from = at + 4;
        const to = from + size;
        if (to > till) break;
        this.at = at = to;
        frames = (frames + 1) | 0;
        if (size > largest) largest = size;
        if (on(chunk, from, to) === false) {
          this.stopped = true;
          break;
        }
        if (this.interrupted) break;
      }
    } finally {
      this.tally(frames, at - began - frames * 4, largest);
    }
  }

  protected override locate(buf: Buffer, start: number, end: number): number {
    const layout = this.#layout;
    if (layout.sync !== undefined) {
      const marker = layout.sync.find(buf, start, end, this.atEnd);
      if (marker !== start) {
        this.from = -1;
        return marker;
      }
      if (!layout.sync.beginsAt(buf, start, end)) return this.more(0, false);
    }
    if (end - start < layout.header) return this.more(layout.header, false);

    const field = start + layout.offset;
    const value = readLength(buf, field, layout);
    const size = value + layout.adjust;
    if (value < 0 || size < 0 || layout.header + size < layout.strip) {
      return this.#invalid(buf, start, end, value, size);
    }
    if (size > this.limit) return this.#oversize(buf, start, end, size);

    const trailer = layout.checksum?.bytes ?? 0;
    const total = layout.header + size + trailer;
    if (end - start < total) return this.more(total, true);
    const payload = start + layout.header;
    if (layout.checksum !== undefined) {
      const expected = readUnsigned(buf, payload + size, trailer, layout.checksum.endian === 'le');
      const actual = checksumValue(layout.checksum, buf.subarray(payload, payload + size));
      if (expected !== actual) {
        const drop = layout.skipMalformed ? total : undefined;
        return this.refuse(buf, start, end, drop, (place) => new ChecksumError(expected, actual, place));
      }
    }
    this.from = start + layout.strip;
    this.to = payload + size;
    return start + total;
  }

  protected override finish(_buf: Buffer, start: number, end: number): boolean {
    const layout = this.#layout;
    if (!this.sized || layout.checksum !== undefined || end - start < layout.strip) return false;
    this.from = start + layout.strip;
    this.to = end;
    return true;
  }

  #invalid(buf: Buffer, start: number, end: number, value: number, size: number): number {
    const layout = this.#layout;
    const why =
      value < 0
        ? `a length of ${value} is negative`
        : size < 0
          ? `a length of ${value} is less than the ${-layout.adjust} bytes it has to count`
          : `a frame of ${layout.header + size} bytes is less than the ${layout.strip} to strip`;
    // Without a marker to look for there is no telling where the next frame begins.
    const drop = layout.sync !== undefined && layout.skipMalformed ? layout.header : undefined;
    const make = (place: ConstructorParameters<typeof InvalidLengthError>[2]) =>
      new InvalidLengthError(value, why, place);
    return this.refuse(buf, start, end, drop, make, this.#otherOrder(buf, start + layout.offset));
  }

  #oversize(buf: Buffer, start: number, end: number, size: number): number {
    const layout = this.#layout;
    const field = start + layout.offset;
    const exact = Number.isSafeInteger(size) ? size : readBig(buf, field, layout) + BigInt(layout.adjust);
    const total = layout.header + size + (layout.checksum?.bytes ?? 0);
    return this.tooLarge(buf, start, end, exact, total, this.#otherOrder(buf, field));
  }

  /** A hint when the length makes sense read the other way round. */
  #otherOrder(buf: Buffer, field: number): string | undefined {
    const layout = this.#layout;
    if (layout.bytes === 1) return undefined;
    const size = readLength(buf, field, { ...layout, little: !layout.little }) + layout.adjust;
    if (size <= 0 || size > this.limit) return undefined;
    const order = layout.little ? 'big-endian' : 'little-endian';
    return `read as ${order} the length would be ${size}: is the byte order the same on both sides?`;
  }
}
