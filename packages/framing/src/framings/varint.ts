/** Frames behind their length as a base-128 number. */
import { Buffer } from 'node:buffer';
import { FrameDecoder } from '../decoder.js';
import { copyBytes, FrameEncoder } from '../encoder.js';
import { InvalidLengthError } from '../errors.js';
import type { DecoderOptions, EncoderOptions, Framing, Limits, OnFrame, OnSpan } from '../framing.js';
import { anyLength, checkOptions, checkValue, limitRules, type Policy, policyOf, whole } from '../options.js';
import { View } from '../view.js';
import { makeFraming } from './make.js';

/** Options of {@link varint}. */
export interface VarintOptions extends Limits {
  /** Most bytes of the prefix, 1 to 10; a longer one is an {@link InvalidLengthError}. @default 5 */
  maxPrefixBytes?: number;
}

const rules = { ...limitRules, maxPrefixBytes: whole(5, 1, 10) };

/**
 * Frames that begin with their length as a base-128 number, least significant group first, the high bit set on all
 * bytes but the last (Protocol Buffers' delimited messages, libp2p, MQTT's remaining length). Longer encodings than
 * necessary are accepted; the encoder writes the shortest.
 * @throws OptionError for an option that is not known or does not fit
 */
export function varint(options?: VarintOptions): Framing {
  const checked = checkOptions('varint', options, rules);
  const policy = policyOf(checked);
  const most = checked.maxPrefixBytes;
  return makeFraming(
    'varint',
    (o) => new VarintDecoder(most, policy, o),
    (o) => new VarintEncoder(most, policy, o),
  );
}

class VarintDecoder extends FrameDecoder {
  readonly #most: number;

  constructor(most: number, policy: Policy, options?: DecoderOptions) {
    super('varint', policy, options);
    this.#most = most;
  }

  /** Frames with a prefix of one or two bytes (up to 16,383 bytes of payload). */
  protected override hurry(spans: boolean, list: Buffer[] | undefined): void {
    if (this.policy.dropEmpty || this.#most < 2) return;
    const { chunk, till, max, on } = this;
    const { buffer, byteOffset } = chunk;
    let at = this.at;
    let frames = 0;
    let payload = 0;
    let largest = 0;
    try {
      while (at < till) {
        const size = shortPrefix(chunk, at, till);
        const from = at + ((chunk[at] as number) < 128 ? 1 : 2);
        const to = from + size;
        if (size < 0 || size > max || to > till) break;
        this.at = at = to;
        frames++;
        payload += size;
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
      this.tally(frames, payload, largest);
    }
  }

  protected override locate(buf: Buffer, start: number, end: number): number {
    let size = 0;
    let scale = 1;
    let at = start;
    for (;;) {
      const prefix = at - start;
      if (prefix === this.#most) {
        const why = `a length of more than ${this.#most} bytes`;
        return this.refuse(buf, start, end, undefined, (place) => new InvalidLengthError(Number.NaN, why, place));
      }
      if (at === end) return this.more(prefix + 1, false);
      const byte = buf[at++] as number;
      size += (byte & 127) * scale;
      if (byte < 128) break;
      scale *= 128;
    }
    const total = at - start + size;
    if (size > this.limit) {
      const exact = Number.isSafeInteger(size) ? size : readBig(buf, start, at);
      return this.tooLarge(buf, start, end, exact, total);
    }
    if (end - start < total) return this.more(total, true);
    this.from = at;
    this.to = at + size;
    return this.to;
  }

  protected override finish(buf: Buffer, start: number, end: number): boolean {
    if (!this.sized) return false;
    this.from = start;
    while ((buf[this.from++] as number) >= 128);
    this.to = end;
    return true;
  }
}

/** The value of a prefix of one or two bytes, or -1 for others. */
function shortPrefix(chunk: Buffer, at: number, till: number): number {
  const first = chunk[at] as number;
  if (first < 128) return first;
  if (at + 1 === till) return -1;
  const second = chunk[at + 1] as number;
  return second < 128 ? (second << 7) | (first & 127) : -1;
}

function readBig(buf: Buffer, start: number, end: number): bigint {
  let value = 0n;
  for (let at = end - 1; at >= start; at--) value = (value << 7n) | BigInt((buf[at] as number) & 127);
  return value;
}

class VarintEncoder extends FrameEncoder {
  readonly #largest: number;

  constructor(most: number, policy: Policy, options?: EncoderOptions) {
    super('varint', policy, options);
    this.#largest = Math.min(128 ** most - 1, Number.MAX_SAFE_INTEGER);
  }

  override header(length: number): Buffer {
    checkValue('varint', 'length', length, anyLength);
    this.#check(Buffer.alloc(0), length);
    const header = Buffer.alloc(prefixBytes(length));
    writeVarint(header, 0, length);
    return header;
  }

  override pieces(payload: Buffer): Buffer[] {
    return [this.header(payload.length), payload];
  }

  protected override measure(payload: Buffer): number {
    this.#check(payload, payload.length);
    return prefixBytes(payload.length) + payload.length;
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    copyBytes(payload, target, writeVarint(target, at, payload.length));
  }

  #check(payload: Buffer, size: number): void {
    this.checkLimit(payload, size);
    if (size > this.#largest) this.tooLarge(payload, size, this.#largest, 'the most that the prefix can say');
  }
}

function prefixBytes(size: number): number {
  let bytes = 1;
  for (let left = size; left >= 128; left = Math.floor(left / 128)) bytes++;
  return bytes;
}

function writeVarint(target: Buffer, at: number, value: number): number {
  let left = value;
  let next = at;
  while (left >= 128) {
    target[next++] = (left % 128) | 128;
    left = Math.floor(left / 128);
  }
  target[next++] = left;
  return next;
}
