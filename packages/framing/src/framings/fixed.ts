import type { Buffer } from 'node:buffer';
import { FrameDecoder } from '../decoder.js';
import { copyBytes, FrameEncoder } from '../encoder.js';
import type { DecoderOptions, EncoderOptions, Framing, Limits } from '../framing.js';
import { type Policy, policyOf, whole } from '../options.js';
import { makeFraming } from './make.js';

/**
 * Frames of `size` bytes each. The limit is at least `size` unless it is set.
 * @throws TypeError, RangeError for a size or options that make no sense
 */
export function fixed(size: number, options?: Limits): Framing {
  const given = policyOf('fixed', options);
  const bytes = whole('fixed', 'size', size, 0, 1, Number.MAX_SAFE_INTEGER);
  if (size === undefined) throw new TypeError('fixed: expected the size of a frame');
  const unset = options?.maxFrameLength === undefined;
  const policy: Policy = unset && bytes > given.maxFrameLength ? { ...given, maxFrameLength: bytes } : given;
  if (bytes > policy.maxFrameLength) {
    throw new RangeError(`fixed: a size of ${bytes} is above maxFrameLength ${policy.maxFrameLength}`);
  }
  const name = `fixed:${bytes}`;
  return makeFraming(
    name,
    (o) => new FixedDecoder(name, bytes, policy, o),
    (o) => new FixedEncoder(name, bytes, policy, o),
  );
}

class FixedDecoder extends FrameDecoder {
  constructor(
    name: string,
    private readonly size: number,
    policy: Policy,
    options?: DecoderOptions,
  ) {
    super(name, policy, options);
  }

  protected override locate(buf: Buffer, start: number, end: number): number {
    const { size } = this;
    if (size > this.limit) return this.tooLarge(buf, start, end, size, size);
    if (end - start < size) return this.more(size, true);
    this.from = start;
    this.to = start + size;
    return this.to;
  }

  protected override finish(_buf: Buffer, start: number, end: number): boolean {
    this.from = start;
    this.to = end;
    return true;
  }
}

class FixedEncoder extends FrameEncoder {
  constructor(
    name: string,
    private readonly frame: number,
    policy: Policy,
    options?: EncoderOptions,
  ) {
    super(name, policy, options);
  }

  override pieces(payload: Buffer): Buffer[] {
    this.measure(payload);
    return [payload];
  }

  protected override measure(payload: Buffer): number {
    const { length } = payload;
    if (length > this.frame) this.tooLarge(payload, length, this.frame, 'the size of every frame');
    if (length < this.frame) this.invalidLength(payload, length, `a payload of ${length} bytes is not ${this.frame}`);
    return length;
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    copyBytes(payload, target, at);
  }
}
