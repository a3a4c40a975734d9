/** Frames that end with a delimiter; also the base of lines. */
import { Buffer } from 'node:buffer';
import { FrameDecoder, RESYNC } from '../decoder.js';
import { copyBytes, FrameEncoder } from '../encoder.js';
import { FramingError } from '../errors.js';
import type { Bytes, DecoderOptions, EncoderOptions, Framing, Limits, OnFrame, OnSpan } from '../framing.js';
import { checkOptions, flag, limitRules, type Policy, policyOf, wrongOption } from '../options.js';
import { asBuffer, View } from '../view.js';
import { Delimiters } from './delimiters.js';
import { makeFraming } from './make.js';

/** Options of {@link delimited}. */
export interface DelimitedOptions extends Limits {
  /** Deliver the delimiter as the end of its frame. The encoder then takes payloads with it, or adds it. @default false */
  keep?: boolean;
  /**
   * The delimiters separate frames instead of ending them: what follows the last one is a frame too, even when it is
   * empty. `onEnd` is then 'deliver' unless told otherwise.
   * @default false
   */
  separator?: boolean;
}

const rules = { ...limitRules, keep: flag, separator: flag };

/**
 * Frames that end with a delimiter, or with any of several: the one that begins first counts, and of those that begin
 * at the same byte the longest. Strings are UTF-8. The encoder writes the first delimiter of the list (or a longer one
 * of the list that begins with it) and refuses a payload in which one would be found.
 * @throws OptionError for an option that is not known or does not fit
 */
export function delimited(by: string | Bytes | readonly (string | Bytes)[], options?: DelimitedOptions): Framing {
  const where = 'delimited';
  const checked = checkOptions(where, options, rules);
  const { keep, separator } = checked;
  const given = policyOf(checked);
  const policy: Policy = separator && options?.onEnd === undefined ? { ...given, onEnd: 'deliver' } : given;
  const list = typeof by === 'string' || by instanceof Uint8Array ? [by] : by;
  if (!Array.isArray(list)) throw wrongOption(where, 'by', 'expected a delimiter or a list of them');
  const delimiters = new Delimiters(
    where,
    list.map((each: string | Bytes) => (typeof each === 'string' ? Buffer.from(each) : asBuffer(each))),
  );
  return delimitedBy('delimited', delimiters, policy, { keep, separator });
}

/** How frames end, beside their delimiters. */
export interface Ending {
  readonly keep: boolean;
  readonly separator?: boolean;
  /** A CR before the delimiter belongs to it. */
  readonly stripCR?: boolean;
  /** Deliver longer frames in pieces of that many bytes. */
  readonly cut?: number | undefined;
}

/** What `delimited` and `lines` are made of. */
export function delimitedBy(
  name: string,
  delimiters: Delimiters,
  policy: Policy,
  ending: Ending,
): Framing & { decoder(options?: DecoderOptions): DelimitedDecoder } {
  return makeFraming(
    name,
    (o) => new DelimitedDecoder(name, delimiters, policy, ending, o),
    (o) => new DelimitedEncoder(name, delimiters, policy, ending, o),
  );
}

const CR = 13;
/** Not a byte. */
const NONE = 256;

export class DelimitedDecoder extends FrameDecoder {
  readonly #delimiters: Delimiters;
  readonly #ending: Ending;
  readonly #keep: boolean;
  readonly #stripCR: boolean;
  readonly #cut: number;
  /** What `decodeText` gathers, while it runs. */
  #texts: string[] | undefined;
  /** Nothing asked for that the hot loops do not know. */
  readonly #plain: boolean;

  constructor(name: string, delimiters: Delimiters, policy: Policy, ending: Ending, options?: DecoderOptions) {
    super(name, policy, options);
    this.#delimiters = delimiters;
    this.#ending = ending;
    this.#keep = ending.keep;
    this.#stripCR = ending.stripCR === true;
    this.#cut = ending.cut ?? Infinity;
    this.#plain = ending.cut === undefined && !policy.dropEmpty;
  }

  /** See {@link LineDecoder}. */
  decodeText(chunk: Bytes): string[] {
    const texts: string[] = [];
    this.#texts = texts;
    try {
      for (const frame of this.decode(chunk)) texts.push(frame.toString());
    } catch (error) {
      if (error instanceof FramingError && error.frames !== undefined) {
        error.frames = [...texts.map((text) => Buffer.from(text)), ...error.frames];
      }
      throw error;
    } finally {
      this.#texts = undefined;
    }
    return texts;
  }

  protected override get endsWithFrame(): boolean {
    return this.#ending.separator === true && this.policy.onEnd === 'deliver';
  }

  /** Frames that end with the only delimiter, when none in the chunk can be too long. */
  protected override hurry(spans: boolean, list: Buffer[] | undefined): void {
    const { single } = this.#delimiters;
    if (!this.#plain || single === undefined || this.max < this.till - this.at) return;
    if (this.#texts !== undefined && list !== undefined && !this.#keep) return this.#hurryText(this.#texts, list);
    const { chunk, till, on } = this;
    const { buffer, byteOffset } = chunk;
    const width = this.#delimiters.longest;
    const kept = this.#keep ? width : 0;
    const trimmed = this.#stripCR && !this.#keep ? CR : NONE + 1;
    let at = this.at;
    let frames = 0;
    let payload = 0;
    let largest = 0;
    try {
      while (at < till) {
        const found = chunk.indexOf(single as number, at);
        if (found < 0) break;
        const from = at;
        this.at = at = found + width;
        const to = found + kept - ((found > from ? chunk[found - 1] : NONE) === trimmed ? 1 : 0);
        const size = to - from;
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

  /** All whole lines of the chunk become one string that is cut into lines, which is four times as fast as a string each. */
  #hurryText(texts: string[], list: Buffer[]): void {
    for (const frame of list) texts.push(frame.toString());
    list.length = 0;
    const { chunk, at, till } = this;
    const { single, longest: width, toWrite } = this.#delimiters;
    const last = chunk.lastIndexOf(single as number, till - 1);
    if (last < at) return;
    const text = chunk.toString('utf8', at, last);
    const ascii = text.length === last - at;
    const trim = this.#stripCR && text.includes('\r');
    const found = text.split(toWrite.toString());
    let payload = last - at - (found.length - 1) * width;
    let largest = 0;
    for (let line of found) {
      if (trim && line.endsWith('\r')) {
        line = line.slice(0, -1);
        payload--;
      }
      const size = ascii ? line.length : Buffer.byteLength(line);
      if (size > largest) largest = size;
      texts.push(line);
    }
    this.at = last + width;
    this.tally(found.length, payload, largest);
  }

  protected override locate(buf: Buffer, start: number, end: number): number {
    const delimiters = this.#delimiters;
    const { limit } = this;
    const found = delimiters.find(buf, start + this.scanned, end, this.atEnd);
    if (found < 0) return this.#unfinished(buf, start, end);

    const payloadEnd = this.#stripCR && found > start && buf[found - 1] === CR ? found - 1 : found;
    if ((this.#keep ? found : payloadEnd) - start >= this.#cut) return this.#piece(start);
    if (payloadEnd - start > limit) return this.tooLarge(buf, start, end, limit + 1, RESYNC);
    this.from = start;
    this.to = this.#keep ? found + delimiters.width : payloadEnd;
    return found + delimiters.width;
  }

  /** No delimiter yet. Bytes that may turn out to be the beginning of one do not count as payload. */
  #unfinished(buf: Buffer, start: number, end: number): number {
    const length = end - start;
    const delimiters = this.#delimiters;
    const { limit } = this;
    this.scanned = Math.max(0, length - delimiters.longest + 1);
    if (length > limit || length >= this.#cut) {
      const sure = length - (this.atEnd ? 0 : delimiters.tail(buf, start, end));
      const payload = this.#stripCR && sure === length && buf[end - 1] === CR ? sure - 1 : sure;
      if ((this.#keep ? sure : payload) >= this.#cut) return this.#piece(start);
      if (payload > limit) return this.tooLarge(buf, start, end, limit + 1, RESYNC);
    }
    return this.more(0, false);
  }

  #piece(start: number): number {
    this.from = start;
    this.to = start + Math.min(this.#cut, Math.max(1, this.limit));
    return this.to;
  }

  protected override resync(buf: Buffer, start: number, end: number): number {
    const found = this.#delimiters.find(buf, start, end, this.atEnd);
    if (found >= 0) return found + this.#delimiters.width;
    this.keep = end - this.#delimiters.tail(buf, start, end);
    return found;
  }

  protected override finish(buf: Buffer, start: number, end: number): boolean {
    this.from = start;
    this.to = this.#stripCR && !this.#keep && buf[end - 1] === CR ? end - 1 : end;
    return true;
  }
}

class DelimitedEncoder extends FrameEncoder {
  readonly #delimiters: Delimiters;
  readonly #ending: Ending;
  readonly #delimiter: Buffer;

  constructor(name: string, delimiters: Delimiters, policy: Policy, ending: Ending, options?: EncoderOptions) {
    super(name, policy, options);
    this.#delimiters = delimiters;
    this.#ending = ending;
    this.#delimiter = delimiters.toWrite;
  }

  override pieces(payload: Buffer): Buffer[] {
    this.measure(payload);
    this.verify(payload);
    return this.#delimiterIn(payload) > 0 ? [payload] : [payload, this.#delimiter];
  }

  protected override measure(payload: Buffer): number {
    const ended = this.#delimiterIn(payload);
    this.checkLimit(payload, payload.length - ended);
    return ended > 0 ? payload.length : payload.length + this.#delimiter.length;
  }

  protected override verify(payload: Buffer): void {
    const delimiters = this.#delimiters;
    const ended = this.#delimiterIn(payload);
    const size = payload.length - ended;
    const found = delimiters.find(payload, 0, payload.length, true);
    if (found >= 0 && (ended === 0 || found < size)) {
      this.malformed(payload, `the payload holds the delimiter at byte ${found}`);
    }
    if (ended > 0) return;
    // Its last bytes and the first of the delimiter must not make a delimiter either.
    const last = payload.subarray(Math.max(0, size - delimiters.longest + 1));
    const joint = Buffer.concat([last, this.#delimiter]);
    if (delimiters.find(joint, 0, joint.length, true) !== last.length) {
      this.malformed(payload, "the payload's last bytes and the delimiter make an earlier delimiter");
    }
    if (this.#ending.stripCR === true && payload[size - 1] === CR) {
      this.malformed(payload, 'the payload ends with CR, which would be taken for a part of the line end');
    }
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    copyBytes(payload, target, at);
    if (this.#delimiterIn(payload) === 0) copyBytes(this.#delimiter, target, at + payload.length);
  }

  /** With `keep`: how many bytes the delimiter at the payload's end takes. */
  #delimiterIn(payload: Buffer): number {
    if (!this.#ending.keep) return 0;
    const width = this.#delimiters.atEndOf(payload);
    return width > 0 && this.#ending.stripCR === true && payload[payload.length - width - 1] === CR ? width + 1 : width;
  }
}
