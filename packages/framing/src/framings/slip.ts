/** SLIP: frames on serial lines, with an end byte and escapes. */
import { Buffer } from 'node:buffer';
import { FrameDecoder, MORE, RESYNC } from '../decoder.js';
import { FrameEncoder } from '../encoder.js';
import type { DecoderOptions, EncoderOptions, Framing, Limits } from '../framing.js';
import { allocate } from '../memory.js';
import { checkOptions, flag, limitRules, type Policy, policyOf, whole, word, wrongOption } from '../options.js';
import { makeFraming } from './make.js';

/** Options of {@link slip}. */
export interface SlipOptions extends Limits {
  /** The byte that ends a frame. @default 0xc0 */
  end?: number;
  /** The byte that escapes. @default 0xdb */
  esc?: number;
  /** What stands behind the escape for the end byte. @default 0xdc */
  escEnd?: number;
  /** What stands behind the escape for the escape byte. @default 0xdd */
  escEsc?: number;
  /** The encoder begins each frame with an end byte too, which flushes line noise out of the receiver. @default false */
  leadingEnd?: boolean;
  /** An escape before any other byte: a {@link MalformedFrameError}, or that byte (as RFC 1055 suggests). @default 'error' */
  onBadEscape?: 'error' | 'literal';
  /** `skip`: a malformed frame is reported and dropped to its end byte. @default 'fail' */
  onMalformed?: 'fail' | 'skip';
}

interface Codes {
  readonly end: number;
  readonly esc: number;
  readonly escEnd: number;
  readonly escEsc: number;
}

const byte = (value: number) => whole(value, 0, 255);

const rules = {
  ...limitRules,
  emptyFrames: word('drop', 'deliver'),
  end: byte(0xc0),
  esc: byte(0xdb),
  escEnd: byte(0xdc),
  escEsc: byte(0xdd),
  leadingEnd: flag,
  onBadEscape: word('error', 'literal'),
  onMalformed: word('fail', 'skip'),
};

/**
 * SLIP, for serial lines: a frame ends with a byte that occurs nowhere inside it, as payload bytes of that value are
 * escaped. Empty frames are idle time and dropped, unless `emptyFrames: 'deliver'` is asked for.
 * Source: RFC 1055.
 * @throws OptionError for an option that is not known or does not fit
 */
export function slip(options?: SlipOptions): Framing {
  const where = 'slip';
  const checked = checkOptions(where, options, rules);
  const policy = policyOf(checked);
  const { end, esc, escEnd, escEsc, leadingEnd } = checked;
  const codes: Codes = { end, esc, escEnd, escEsc };
  if (new Set(Object.values(codes)).size < 4)
    throw wrongOption(where, 'end', 'end, esc, escEnd and escEsc must differ');
  if (leadingEnd && !policy.dropEmpty) {
    throw wrongOption(where, 'leadingEnd', 'with leadingEnd empty frames cannot be told from idle time');
  }
  const literal = checked.onBadEscape === 'literal';
  const skip = checked.onMalformed === 'skip';
  return makeFraming(
    where,
    (o) => new SlipDecoder(codes, literal, skip, policy, o),
    (o) => new SlipEncoder(codes, leadingEnd, policy, o),
  );
}

class SlipDecoder extends FrameDecoder {
  readonly #codes: Codes;
  readonly #literal: boolean;
  readonly #skipMalformed: boolean;
  /** Payload bytes in the frame so far, and whether it has escapes. `scanned` is how far that was counted. */
  #size = 0;
  #escaped = false;

  constructor(codes: Codes, literal: boolean, skipMalformed: boolean, policy: Policy, options?: DecoderOptions) {
    super('slip', policy, options);
    this.#codes = codes;
    this.#literal = literal;
    this.#skipMalformed = skipMalformed;
  }

  protected override locate(buf: Buffer, start: number, end: number): number {
    if (this.scanned === 0) {
      this.#size = 0;
      this.#escaped = false;
    }
    const found = buf.indexOf(this.#codes.end, start + this.scanned);
    const ended = found >= 0;
    const fault = this.#count(buf, start, ended ? found : end, end, ended);
    if (fault !== 0) return fault;
    if (!ended) return this.more(0, false);
    if (found === start && this.policy.dropEmpty) this.from = -2;
    else this.#unescape(buf, start, found);
    return found + 1;
  }

  /** Counts the payload bytes up to `stop`; what is wrong with the frame is found in the order of its bytes. */
  #count(buf: Buffer, start: number, stop: number, end: number, ended: boolean): number {
    const { esc, escEnd, escEsc } = this.#codes;
    let at = start + this.scanned;
    while (at < stop) {
      const found = buf.indexOf(esc, at);
      const escape = found >= 0 && found < stop ? found : stop;
      this.#size += escape - at;
      at = escape;
      if (this.#size > this.limit) break;
      if (escape === stop) break;
      this.#escaped = true;
      if (escape + 1 === stop && !ended) break;
      const escaped = escape + 1 === stop ? undefined : buf[escape + 1];
      if (escaped !== escEnd && escaped !== escEsc && !this.#literal) {
        const drop = this.#skipMalformed ? RESYNC : undefined;
        return this.malformed(buf, start, end, 'an escape stands before a byte that is none', drop);
      }
      if (escaped !== undefined) this.#size++;
      at = Math.min(stop, escape + 2);
    }
    this.scanned = at - start;
    return this.#size > this.limit ? this.tooLarge(buf, start, end, this.limit + 1, RESYNC) : 0;
  }

  #unescape(buf: Buffer, start: number, end: number): void {
    this.from = start;
    this.to = end;
    if (!this.#escaped) return;
    const { esc, escEnd, escEsc } = this.#codes;
    const made = allocate(this.#size);
    let length = 0;
    for (let at = start; at < end; at++) {
      let byte = buf[at] as number;
      if (byte === esc) {
        if (++at === end) break;
        byte = buf[at] as number;
        if (byte === escEnd) byte = this.#codes.end;
        else if (byte === escEsc) byte = esc;
      }
      made[length++] = byte;
    }
    this.made = made;
    this.from = 0;
    this.to = length;
  }

  protected override resync(buf: Buffer, start: number, end: number): number {
    const found = buf.indexOf(this.#codes.end, start);
    if (found >= 0) return found + 1;
    this.keep = end;
    return MORE;
  }

  protected override finish(buf: Buffer, start: number, end: number): boolean {
    if (buf[end - 1] === this.#codes.esc) return false;
    this.#unescape(buf, start, end);
    return true;
  }
}

class SlipEncoder extends FrameEncoder {
  readonly #codes: Codes;
  readonly #leadingEnd: boolean;

  constructor(codes: Codes, leadingEnd: boolean, policy: Policy, options?: EncoderOptions) {
    super('slip', policy, options);
    this.#codes = codes;
    this.#leadingEnd = leadingEnd;
  }

  override header(_length: number): Buffer {
    return this.#leadingEnd ? Buffer.of(this.#codes.end) : Buffer.alloc(0);
  }

  protected override measure(payload: Buffer): number {
    this.checkLimit(payload, payload.length);
    const { end, esc } = this.#codes;
    let escapes = 0;
    for (const byte of payload) if (byte === end || byte === esc) escapes++;
    return (this.#leadingEnd ? 1 : 0) + payload.length + escapes + 1;
  }

  protected override verify(payload: Buffer): void {
    if (payload.length === 0 && this.policy.dropEmpty) {
      this.malformed(payload, 'an empty frame cannot be told from idle time');
    }
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    const { end, esc, escEnd, escEsc } = this.#codes;
    let to = at;
    if (this.#leadingEnd) target[to++] = end;
    for (const byte of payload) {
      if (byte === end || byte === esc) {
        target[to++] = esc;
        target[to++] = byte === end ? escEnd : escEsc;
      } else target[to++] = byte;
    }
    target[to] = end;
  }
}
