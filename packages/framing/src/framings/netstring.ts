/** Netstrings: decimal length, colon, payload, comma. */
import { Buffer } from 'node:buffer';
import { FrameDecoder } from '../decoder.js';
import { copyBytes, FrameEncoder } from '../encoder.js';
import type { DecoderOptions, EncoderOptions, Framing, Limits } from '../framing.js';
import { anyLength, checkValue, limitsOf, type Policy } from '../options.js';
import { makeFraming } from './make.js';

/**
 * Netstrings: the length in decimal digits without leading zeros, a colon, the payload, a comma; `2:hi,`.
 * Source: D. J. Bernstein, "Netstrings" (1997).
 * @throws OptionError for an option that is not known or does not fit
 */
export function netstring(options?: Limits): Framing {
  const policy = limitsOf('netstring', options);
  return makeFraming(
    'netstring',
    (o) => new NetstringDecoder(policy, o),
    (o) => new NetstringEncoder(policy, o),
  );
}

const ZERO = 48;
const NINE = 57;
const COLON = 58;
const COMMA = 44;

class NetstringDecoder extends FrameDecoder {
  #payloadAt = 0;

  constructor(policy: Policy, options?: DecoderOptions) {
    super('netstring', policy, options);
  }

  protected override locate(buf: Buffer, start: number, end: number): number {
    let size = 0;
    let at = start;
    for (; ; at++) {
      if (at === end) return this.more(at - start + 1, false);
      const byte = buf[at] as number;
      if (byte === COLON && at > start) break;
      if (byte < ZERO || byte > NINE) return this.malformed(buf, start, end, 'a length must be digits and a colon');
      if (size === 0 && at > start) return this.malformed(buf, start, end, 'a length must not begin with 0');
      size = size * 10 + byte - ZERO;
      // To skip the frame the whole number is needed; to refuse it the first digit beyond the limit is enough.
      const enough = !this.policy.skip || size > Number.MAX_SAFE_INTEGER;
      if (size > this.limit && enough) return this.tooLarge(buf, start, end, size, Infinity);
    }
    const total = at - start + 1 + size + 1;
    if (size > this.limit) return this.tooLarge(buf, start, end, size, total);
    if (end - start < total) {
      this.#payloadAt = at + 1 - start;
      return this.more(total, true);
    }
    this.from = at + 1;
    this.to = this.from + size;
    if (buf[this.to] !== COMMA) return this.malformed(buf, start, end, 'a comma must follow the payload');
    return this.to + 1;
  }

  protected override finish(_buf: Buffer, start: number, end: number): boolean {
    if (!this.sized) return false;
    this.from = start + this.#payloadAt;
    this.to = Math.min(end, start + this.need - 1);
    return true;
  }
}

class NetstringEncoder extends FrameEncoder {
  constructor(policy: Policy, options?: EncoderOptions) {
    super('netstring', policy, options);
  }

  override header(length: number): Buffer {
    checkValue('netstring', 'length', length, anyLength);
    this.checkLimit(Buffer.alloc(0), length);
    return Buffer.from(`${length}:`);
  }

  override pieces(payload: Buffer): Buffer[] {
    return [this.header(payload.length), payload, Buffer.from(',')];
  }

  protected override measure(payload: Buffer): number {
    this.checkLimit(payload, payload.length);
    return digits(payload.length) + 2 + payload.length;
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    const { length } = payload;
    const colonAt = at + digits(length);
    for (let left = length, i = colonAt - 1; i >= at; i--, left = Math.floor(left / 10)) target[i] = ZERO + (left % 10);
    target[colonAt] = COLON;
    copyBytes(payload, target, colonAt + 1);
    target[colonAt + 1 + length] = COMMA;
  }
}

function digits(value: number): number {
  let count = 1;
  for (let left = value; left >= 10; left = Math.floor(left / 10)) count++;
  return count;
}
