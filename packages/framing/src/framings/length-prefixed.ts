import { Buffer } from 'node:buffer';
import { FrameDecoder } from '../decoder.js';
import { copyBytes, FrameEncoder } from '../encoder.js';
import { ChecksumError, InvalidLengthError } from '../errors.js';
import type { Bytes, Checksum, DecoderOptions, EncoderOptions, Framing, Limits } from '../framing.js';
import { checkNames, flag, type Policy, policyOf, whole, word } from '../options.js';
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

interface Layout {
  readonly name: string;
  readonly bytes: number;
  readonly little: boolean;
  readonly offset: number;
  readonly header: number;
  readonly adjust: number;
  readonly strip: number;
  readonly signed: boolean;
  readonly mask: number | undefined;
  readonly sync: Markers | undefined;
  readonly checksum: (Required<Omit<Checksum, 'compute'>> & Pick<Checksum, 'compute'>) | undefined;
  readonly skipMalformed: boolean;
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
 * @throws TypeError, RangeError for options that make no sense
 */
export function lengthPrefixed(options?: LengthPrefixedOptions): Framing {
  return lengthPrefixedAs(undefined, options);
}

/** The same under another name, for protocols that have one. */
export function lengthPrefixedAs(name: string | undefined, options?: LengthPrefixedOptions): Framing {
  const where = name ?? 'lengthPrefixed';
  const policy = policyOf(where, options, [
    'bytes',
    'endian',
    'offset',
    'adjust',
    'includesHeader',
    'strip',
    'signed',
    'mask',
    'sync',
    'checksum',
    'onMalformed',
  ]);
  const plain = layoutOf(where, options ?? {});
  const layout = name === undefined ? plain : { ...plain, name };
  return makeFraming(
    layout.name,
    (o) => new LengthPrefixedDecoder(layout, policy, o),
    (o) => new LengthPrefixedEncoder(layout, policy, o),
  );
}

function layoutOf(where: string, o: LengthPrefixedOptions): Layout {
  const bytes = whole(where, 'bytes', o.bytes, 4, 1, 8);
  const little = word(where, 'endian', o.endian, ['be', 'le']) === 'le';
  const signed = flag(where, 'signed', o.signed);
  const sync = o.sync === undefined ? undefined : new Markers(where, o.sync);
  const offset = whole(where, 'offset', o.offset, sync?.longest ?? 0, 0, 65535);
  if (sync !== undefined && sync.longest > offset) {
    throw new RangeError(`${where}: a sync marker of ${sync.longest} bytes does not fit in an offset of ${offset}`);
  }
  const header = offset + bytes;
  const safe = Number.MAX_SAFE_INTEGER;
  const adjust = whole(where, 'adjust', o.adjust, 0, -safe, safe);
  return {
    name: `${signed ? 'i' : 'u'}${bytes * 8}${bytes === 1 ? '' : little ? 'le' : 'be'}`,
    bytes,
    little,
    offset,
    header,
    adjust: flag(where, 'includesHeader', o.includesHeader) ? adjust - header : adjust,
    strip: whole(where, 'strip', o.strip, header, 0, safe),
    signed,
    mask: o.mask === undefined ? undefined : whole(where, 'mask', o.mask, 0, 1, safe),
    sync,
    checksum: checksumOf(where, o.checksum),
    skipMalformed: word(where, 'onMalformed', o.onMalformed, ['fail', 'skip']) === 'skip',
  };
}

function checksumOf(where: string, checksum: Checksum | undefined): Layout['checksum'] {
  if (checksum === undefined) return undefined;
  checkNames(`${where}: checksum`, checksum, ['bytes', 'endian', 'compute']);
  if (typeof checksum.compute !== 'function') throw new TypeError(`${where}: checksum.compute must be a function`);
  return {
    bytes: whole(where, 'checksum.bytes', checksum.bytes, 4, 1, 8),
    endian: word(where, 'checksum.endian', checksum.endian, ['be', 'le']),
    compute: (payload) => checksum.compute(payload),
  };
}

class LengthPrefixedDecoder extends FrameDecoder {
  constructor(
    private readonly layout: Layout,
    policy: Policy,
    options?: DecoderOptions,
  ) {
    super(layout.name, policy, options);
  }

  protected override locate(buf: Buffer, start: number, end: number): number {
    const { layout } = this;
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
    const { layout } = this;
    if (!this.sized || layout.checksum !== undefined || end - start < layout.strip) return false;
    this.from = start + layout.strip;
    this.to = end;
    return true;
  }

  #invalid(buf: Buffer, start: number, end: number, value: number, size: number): number {
    const { layout } = this;
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
    const { layout } = this;
    const field = start + layout.offset;
    const exact = Number.isSafeInteger(size) ? size : readBig(buf, field, layout) + BigInt(layout.adjust);
    const total = layout.header + size + (layout.checksum?.bytes ?? 0);
    return this.tooLarge(buf, start, end, exact, total, this.#otherOrder(buf, field));
  }

  /** A hint when the length makes sense read the other way round. */
  #otherOrder(buf: Buffer, field: number): string | undefined {
    const { layout } = this;
    if (layout.bytes === 1) return undefined;
    const size = readLength(buf, field, { ...layout, little: !layout.little }) + layout.adjust;
    if (size <= 0 || size > this.limit) return undefined;
    const order = layout.little ? 'big-endian' : 'little-endian';
    return `read as ${order} the length would be ${size}: is the byte order the same on both sides?`;
  }
}

class LengthPrefixedEncoder extends FrameEncoder {
  readonly #largest: number;

  constructor(
    private readonly layout: Layout,
    policy: Policy,
    options?: EncoderOptions,
  ) {
    super(layout.name, policy, options);
    const bits = layout.bytes * 8 - (layout.signed ? 1 : 0);
    this.#largest = Math.min(2 ** bits - 1, Number.MAX_SAFE_INTEGER);
  }

  override header(length: number): Buffer {
    const { layout } = this;
    const value = this.#value(Buffer.alloc(0), whole(layout.name, 'length', length, 0, 0, Number.MAX_SAFE_INTEGER));
    const header = Buffer.alloc(layout.header);
    this.#writeHeader(header, 0, value);
    return header.subarray(0, Math.min(layout.strip, layout.header));
  }

  override pieces(payload: Buffer): Buffer[] {
    const { layout } = this;
    if (layout.checksum !== undefined || layout.strip > layout.header) return [this.encode(payload)];
    this.measure(payload);
    this.verify(payload);
    return layout.strip === 0 ? [payload] : [this.header(payload.length + layout.strip - layout.header), payload];
  }

  protected override measure(payload: Buffer): number {
    const { layout } = this;
    this.#value(payload, payload.length + layout.strip - layout.header);
    return layout.strip + payload.length + (layout.checksum?.bytes ?? 0);
  }

  protected override verify(payload: Buffer): void {
    const { layout } = this;
    if (layout.strip >= layout.header) return;
    // The payload brings a part of the header: its length must be the right one, and so must its marker.
    const header = Buffer.alloc(layout.header);
    this.#writeHeader(header, 0, payload.length + layout.strip - layout.header - layout.adjust);
    payload.copy(header, layout.strip, 0, layout.header - layout.strip);
    if (layout.sync !== undefined && !layout.sync.beginsAt(header, 0, layout.header)) {
      this.malformed(payload, 'the frame does not begin with a sync marker');
    }
    const value = readLength(header, layout.offset, layout);
    const size = payload.length + layout.strip - layout.header;
    if (value + layout.adjust !== size) {
      this.invalidLength(payload, value, `the frame says ${value + layout.adjust} bytes follow, there are ${size}`);
    }
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    const { layout } = this;
    const size = payload.length + layout.strip - layout.header;
    if (layout.strip === 0) {
      copyBytes(payload, target, at);
    } else {
      if (layout.strip < layout.header) {
        const header = Buffer.alloc(layout.header);
        this.#writeHeader(header, 0, size - layout.adjust);
        header.copy(target, at, 0, layout.strip);
      } else {
        this.#writeHeader(target, at, size - layout.adjust);
        if (layout.strip > layout.header) target.fill(0, at + layout.header, at + layout.strip);
      }
      copyBytes(payload, target, at + layout.strip);
    }
    if (layout.checksum !== undefined) {
      const till = at + layout.strip + payload.length;
      const value = checksumValue(layout.checksum, target.subarray(at + layout.header, till));
      writeUnsigned(target, till, value, layout.checksum.bytes, layout.checksum.endian === 'le');
    }
  }

  /** The length field's value for `size` bytes behind it, if it can say that. */
  #value(payload: Buffer, size: number): number {
    const { layout } = this;
    if (size < 0) this.invalidLength(payload, size, `the frame is shorter than its header of ${layout.header} bytes`);
    this.checkLimit(payload, size);
    const value = size - layout.adjust;
    if (value < 0) this.invalidLength(payload, value, `${size} bytes would need a length of ${value}`);
    if (value > this.#largest || (layout.mask !== undefined && masked(value, layout.mask) !== value)) {
      this.tooLarge(
        payload,
        size,
        Math.min(this.#largest, layout.mask ?? Infinity) + layout.adjust,
        'the most that the length field can say',
      );
    }
    return value;
  }

  #writeHeader(target: Buffer, at: number, value: number): void {
    const { layout } = this;
    if (layout.offset > 0) {
      target.fill(0, at, at + layout.offset);
      if (layout.sync !== undefined) copyBytes(layout.sync.first, target, at);
    }
    writeUnsigned(target, at + layout.offset, value, layout.bytes, layout.little);
  }
}

function checksumValue(checksum: NonNullable<Layout['checksum']>, payload: Buffer): number {
  const value = checksum.compute(payload);
  if (!Number.isSafeInteger(value)) throw new TypeError(`checksum.compute must return a whole number, not ${value}`);
  const modulus = 2 ** (8 * checksum.bytes);
  return value < 0 || value >= modulus ? value - Math.floor(value / modulus) * modulus : value;
}

/** The length field; above 2^53-1 only near the truth, which is enough to refuse it. */
function readLength(buf: Buffer, at: number, layout: Pick<Layout, 'bytes' | 'little' | 'signed' | 'mask'>): number {
  const { bytes, little, mask } = layout;
  const low = Math.min(bytes, 4);
  const high = bytes - low;
  let lo = readUnsigned(buf, little ? at : at + high, low, little);
  let hi = high === 0 ? 0 : readUnsigned(buf, little ? at + low : at, high, little);
  if (mask !== undefined) {
    lo = (lo & (mask >>> 0)) >>> 0;
    hi = (hi & Math.floor(mask / 2 ** 32)) >>> 0;
  }
  if (layout.signed) {
    if (high === 0) {
      if (lo >= 2 ** (8 * low - 1)) lo -= 2 ** (8 * low);
    } else if (hi >= 2 ** (8 * high - 1)) hi -= 2 ** (8 * high);
  }
  return hi * 2 ** 32 + lo;
}

function masked(value: number, mask: number): number {
  const hi = (Math.floor(value / 2 ** 32) & Math.floor(mask / 2 ** 32)) >>> 0;
  return hi * 2 ** 32 + ((value & (mask >>> 0)) >>> 0);
}

/** The exact value of a field that no number can hold. */
function readBig(buf: Buffer, at: number, layout: Layout): bigint {
  let value = 0n;
  for (let i = 0; i < layout.bytes; i++) {
    value = (value << 8n) | BigInt(buf[layout.little ? at + layout.bytes - 1 - i : at + i] as number);
  }
  return value;
}

function readUnsigned(buf: Buffer, at: number, bytes: number, little: boolean): number {
  let value = 0;
  if (little) for (let i = bytes - 1; i >= 0; i--) value = value * 256 + (buf[at + i] as number);
  else for (let i = 0; i < bytes; i++) value = value * 256 + (buf[at + i] as number);
  return value;
}

function writeUnsigned(target: Buffer, at: number, value: number, bytes: number, little: boolean): void {
  let left = value;
  for (let i = 0; i < bytes; i++) {
    target[little ? at + i : at + bytes - 1 - i] = left % 256;
    left = Math.floor(left / 256);
  }
}
