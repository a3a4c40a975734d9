/** Frames behind their length in decimal digits. */
import { Buffer } from 'node:buffer';
import { FrameDecoder } from '../decoder.js';
import { copyBytes, FrameEncoder } from '../encoder.js';
import { type ErrorPlace, InvalidLengthError, MalformedFrameError } from '../errors.js';
import type { Bytes, DecoderOptions, EncoderOptions, Framing, Limits } from '../framing.js';
import {
  anyLength,
  type Checked,
  checkOptions,
  checkValue,
  limitRules,
  limitsOf,
  other,
  type Policy,
  policyOf,
  whole,
  wrongOption,
} from '../options.js';
import { asBuffer } from '../view.js';
import { makeFraming } from './make.js';

/** Options of {@link decimalLength}. A frame is: the digits, the separator, what they count. */
export interface DecimalLengthOptions extends Limits {
  /**
   * Exactly so many digits, 1 to 16, with zeros in front. Without it there are as many as the number has and no zero
   * in front.
   * @default as many as needed
   */
  digits?: number;
  /**
   * What stands between the digits and the payload, at most 16 bytes; it cannot begin with a digit. May be empty when
   * `digits` is set.
   * @default a space, or nothing when `digits` is set
   */
  separator?: string | Bytes;
  /** Bytes behind the separator = the number + `adjust`; for a number that counts its own four digits: -4. @default 0 */
  adjust?: number;
}

/**
 * Frames that begin with their length in decimal digits.
 *
 * ```ts
 * decimalLength()                                  // '2 hi'
 * decimalLength({ separator: '\n' })               // '2\nhi'
 * decimalLength({ digits: 4 })                     // '0002hi'
 * decimalLength({ digits: 4, adjust: -4 })         // '0006hi'
 * ```
 * {@link netstring} is the one that ends with a comma, {@link octetCounting} that of syslog.
 * @throws OptionError for an option that is not known or does not fit
 */
export function decimalLength(options?: DecimalLengthOptions): Framing {
  const checked = checkOptions(NAME, options, rules);
  return framingOf(layoutOf(checked), policyOf(checked));
}

/**
 * Syslog over TCP and TLS by octet counting: the length in decimal digits, a space, the message; `2 hi`. A length
 * never begins with 0, so there is no empty message.
 * Source: RFC 6587, section 3.4.1; RFC 5425, section 4.3.
 * @throws OptionError for an option that is not known or does not fit
 */
export function octetCounting(options?: Limits): Framing {
  const policy = limitsOf('octet-counting', options);
  const layout = layoutOf(checkOptions(NAME, undefined, rules));
  return framingOf({ ...layout, name: 'octet-counting', least: 1 }, policy);
}

interface Layout {
  readonly name: string;
  readonly digits: number | undefined;
  readonly separator: Buffer;
  readonly adjust: number;
  /** The least number that may stand there. */
  readonly least: number;
}

/** As many as the biggest number of JavaScript that counts exactly has. */
const MOST_DIGITS = 16;
const MOST_SEPARATOR = 16;
const ZERO = 48;
const NINE = 57;

const NAME = 'decimal';

const rules = {
  ...limitRules,
  digits: whole(undefined, 1, MOST_DIGITS),
  separator: other<string | Bytes>(),
  adjust: whole(0, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
};

const isDigit = (byte: number): boolean => byte >= ZERO && byte <= NINE;

function layoutOf({ digits, adjust, ...o }: Checked<typeof rules>): Layout {
  const wrong = (why: string) => wrongOption(NAME, 'separator', why);
  const given = o.separator ?? (digits === undefined ? ' ' : '');
  if (typeof given !== 'string' && !(given instanceof Uint8Array)) {
    throw wrong('separator must be text or bytes');
  }
  const separator = typeof given === 'string' ? Buffer.from(given) : Buffer.from(asBuffer(given));
  if (separator.length > MOST_SEPARATOR) {
    throw wrong(`a separator of ${separator.length} bytes is above ${MOST_SEPARATOR}`);
  }
  if (separator.length === 0 && digits === undefined) {
    throw wrong('without "digits" a separator must say where the number ends');
  }
  if (separator[0] !== undefined && isDigit(separator[0])) {
    throw wrong('a separator cannot begin with a digit');
  }
  return { name: digits === undefined ? NAME : `${NAME}:${digits}`, digits, separator, adjust, least: 0 };
}

function framingOf(layout: Layout, policy: Policy): Framing {
  return makeFraming(
    layout.name,
    (o) => new DecimalLengthDecoder(layout, policy, o),
    (o) => new DecimalLengthEncoder(layout, policy, o),
  );
}

class DecimalLengthDecoder extends FrameDecoder {
  readonly #layout: Layout;
  #payloadAt = 0;

  constructor(layout: Layout, policy: Policy, options?: DecoderOptions) {
    super(layout.name, policy, options);
    this.#layout = layout;
  }

  // A header has at most 32 bytes, so that reading it anew when one more has come costs no more than that.
  protected override locate(buf: Buffer, start: number, end: number): number {
    const { digits, separator, adjust, least } = this.#layout;
    let at = start;
    for (; at - start !== digits; at++) {
      if (at === end) return this.more((digits ?? at - start) + 1, false);
      const byte = buf[at] as number;
      if (byte === separator[0] && digits === undefined && at > start) break;
      if (!isDigit(byte)) return this.#noDigit(buf, start, end, at - start);
      if (digits !== undefined) continue;
      if (at - start === MOST_DIGITS) {
        return this.#invalid(buf, start, end, Number.NaN, `a length of more than ${MOST_DIGITS} digits`);
      }
      if (at > start && buf[start] === ZERO) {
        return this.#invalid(buf, start, end, Number.NaN, 'a length must not begin with 0');
      }
    }
    const number = buf.toString('latin1', start, at);
    const value = Number(number);
    if (value < least) return this.#invalid(buf, start, end, value, `a length of ${value} is less than ${least}`);
    for (const wanted of separator) {
      if (at === end) return this.more(at - start + 1, false);
      if (buf[at++] !== wanted) return this.#noSeparator(buf, start, end);
    }
    const size = value + adjust;
    if (size < 0) {
      const why = `a length of ${value} is less than the ${-adjust} bytes it has to count`;
      return this.#invalid(buf, start, end, value, why);
    }
    const total = at - start + size;
    if (size > this.limit) {
      const exact = Number.isSafeInteger(size) ? size : BigInt(number) + BigInt(adjust);
      return this.tooLarge(buf, start, end, exact, total);
    }
    if (end - start < total) {
      this.#payloadAt = at - start;
      return this.more(total, true);
    }
    this.from = at;
    this.to = start + total;
    return this.to;
  }

  protected override finish(_buf: Buffer, start: number, end: number): boolean {
    if (!this.sized) return false;
    this.from = start + this.#payloadAt;
    this.to = end;
    return true;
  }

  #noDigit(buf: Buffer, start: number, end: number, index: number): number {
    const { digits } = this.#layout;
    if (digits === undefined && index > 0) return this.#noSeparator(buf, start, end);
    const why = digits === undefined ? 'a frame must begin with digits' : `a frame must begin with ${digits} digits`;
    const byte = buf[start + index] as number;
    const binary = index === 0 && (byte < 9 || byte >= 128);
    const hint = binary ? 'the bytes begin like a binary length: u32be or the like on the other side?' : undefined;
    return this.refuse(buf, start, end, undefined, (place) => new MalformedFrameError(why, place), hint);
  }

  #noSeparator(buf: Buffer, start: number, end: number): number {
    return this.malformed(buf, start, end, `${shown(this.#layout.separator)} must follow the length`);
  }

  #invalid(buf: Buffer, start: number, end: number, value: number, why: string): number {
    const make = (place: ErrorPlace) => new InvalidLengthError(value, why, place);
    return this.refuse(buf, start, end, undefined, make);
  }
}

/** A separator, as an error shows it. */
function shown(separator: Buffer): string {
  return separator.every((byte) => byte >= 32 && byte < 127)
    ? JSON.stringify(separator.toString('latin1'))
    : `the bytes ${separator.toString('hex')}`;
}

class DecimalLengthEncoder extends FrameEncoder {
  readonly #layout: Layout;

  constructor(layout: Layout, policy: Policy, options?: EncoderOptions) {
    super(layout.name, policy, options);
    this.#layout = layout;
  }

  override header(length: number): Buffer {
    checkValue(this.framing, 'length', length, anyLength);
    return Buffer.concat([Buffer.from(this.#digits(Buffer.alloc(0), length)), this.#layout.separator]);
  }

  override pieces(payload: Buffer): Buffer[] {
    const head = [Buffer.from(this.#digits(payload, payload.length)), this.#layout.separator];
    return [Buffer.concat(head), payload];
  }

  protected override measure(payload: Buffer): number {
    return this.#digits(payload, payload.length).length + this.#layout.separator.length + payload.length;
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    const { separator } = this.#layout;
    const digits = this.#digits(payload, payload.length);
    const behind = at + target.write(digits, at, 'latin1');
    copyBytes(separator, target, behind);
    copyBytes(payload, target, behind + separator.length);
  }

  /** The number for a payload of that size, if it can be said. */
  #digits(payload: Buffer, size: number): string {
    const { adjust, digits, least } = this.#layout;
    this.checkLimit(payload, size);
    const value = size - adjust;
    if (value < least) this.invalidLength(payload, value, `${size} bytes would need a length of ${value}`);
    const largest = Math.min(10 ** (digits ?? MOST_DIGITS) - 1, Number.MAX_SAFE_INTEGER);
    if (value > largest) this.tooLarge(payload, size, largest + adjust, 'the most that the length can say');
    return String(value).padStart(digits ?? 0, '0');
  }
}
