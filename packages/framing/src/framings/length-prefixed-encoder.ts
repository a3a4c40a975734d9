/** The encoder of length-prefixed frames. */
import { Buffer } from 'node:buffer';
import { copyBytes, FrameEncoder } from '../encoder.js';
import type { EncoderOptions } from '../framing.js';
import { anyLength, checkValue, type Policy } from '../options.js';
import { checksumValue, type Layout, masked, readLength, writeUnsigned } from './length-field.js';

/**
 * Writes the header before the payload and the checksum behind it. Of the header the payload brings what the decoder
 * does not strip; that part is checked.
 */
export class LengthPrefixedEncoder extends FrameEncoder {
  readonly #layout: Layout;
  readonly #largest: number;

  constructor(layout: Layout, policy: Policy, options?: EncoderOptions) {
    super(layout.name, policy, options);
    this.#layout = layout;
    const bits = layout.bytes * 8 - (layout.signed ? 1 : 0);
    this.#largest = Math.min(2 ** bits - 1, Number.MAX_SAFE_INTEGER);
  }

  override header(length: number): Buffer {
    const layout = this.#layout;
    const value = this.#value(Buffer.alloc(0), checkValue(layout.name, 'length', length, anyLength));
    const header = Buffer.alloc(layout.header);
    this.#writeHeader(header, 0, value);
    return header.subarray(0, Math.min(layout.strip, layout.header));
  }

  override pieces(payload: Buffer): Buffer[] {
    const layout = this.#layout;
    if (layout.checksum !== undefined || layout.strip > layout.header) return [this.encode(payload)];
    this.measure(payload);
    this.verify(payload);
    return layout.strip === 0 ? [payload] : [this.header(payload.length + layout.strip - layout.header), payload];
  }

  protected override measure(payload: Buffer): number {
    const layout = this.#layout;
    this.#value(payload, payload.length + layout.strip - layout.header);
    return layout.strip + payload.length + (layout.checksum?.bytes ?? 0);
  }

  protected override verify(payload: Buffer): void {
    const layout = this.#layout;
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
    const layout = this.#layout;
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
    const layout = this.#layout;
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
    const layout = this.#layout;
    if (layout.offset > 0) {
      target.fill(0, at, at + layout.offset);
      if (layout.sync !== undefined) copyBytes(layout.sync.first, target, at);
    }
    writeUnsigned(target, at + layout.offset, value, layout.bytes, layout.little);
  }
}
