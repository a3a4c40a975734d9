/** Frames of one size. */
import type { Buffer } from 'node:buffer';
import { FrameDecoder } from '../decoder.js';
import { copyBytes, FrameEncoder } from '../encoder.js';
import type { DecoderOptions, EncoderOptions, Framing, Limits } from '../framing.js';
import { checkValue, limitsOf, type Policy, whole, wrongOption } from '../options.js';
import { makeFraming } from './make.js';

/**
 * Frames of `size` bytes each. The limit is at least `size` unless it is set.
 * @throws OptionError for a size or an option that is not known or does not fit
 */
export function fixed(size: number, options?: Limits): Framing {
  const given = limitsOf('fixed', options);
  const bytes = checkValue('fixed', 'size', size, whole(0, 1, Number.MAX_SAFE_INTEGER));
  const unset = options?.maxFrameLength === undefined;
  const policy: Policy = unset && bytes > given.maxFrameLength ? { ...given, maxFrameLength: bytes } : given;
  if (bytes > policy.maxFrameLength) {
    throw wrongOption('fixed', 'size', `a size of ${bytes} is above maxFrameLength ${policy.maxFrameLength}`);
  }
  const name = `fixed:${bytes}`;
  return makeFraming(
    name,
    (o) => new FixedDecoder(name, bytes, policy, o),
    (o) => new FixedEncoder(name, bytes, policy, o),
  );
}

class FixedDecoder extends FrameDecoder {
  readonly #size: number;

  constructor(name: string, size: number, policy: Policy, options?: DecoderOptions) {
    super(name, policy, options);
    this.#size = size;
  }

  protected override locate(buf: Buffer, start: number, end: number): number {
    const size = this.#size;
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
  readonly #frame: number;

  constructor(name: string, frame: number, policy: Policy, options?: EncoderOptions) {
    super(name, policy, options);
    this.#frame = frame;
  }

  override pieces(payload: Buffer): Buffer[] {
    this.measure(payload);
    return [payload];
  }

  protected override measure(payload: Buffer): number {
    const { length } = payload;
    if (length > this.#frame) this.tooLarge(payload, length, this.#frame, 'the size of every frame');
    if (length < this.#frame) this.invalidLength(payload, length, `a payload of ${length} bytes is not ${this.#frame}`);
    return length;
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    copyBytes(payload, target, at);
  }
}
