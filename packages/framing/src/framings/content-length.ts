/** Frames behind a header block with a Content-Length. */
import { Buffer } from 'node:buffer';
import { FrameDecoder, MORE } from '../decoder.js';
import { copyBytes, FrameEncoder } from '../encoder.js';
import { FrameTooLargeError, InvalidLengthError } from '../errors.js';
import type { DecoderOptions, Framing, Limits } from '../framing.js';
import { anyLength, checkOptions, checkValue, flag, limitRules, type Policy, policyOf, whole } from '../options.js';
import { makeFraming } from './make.js';

/** Options of {@link contentLength}. */
export interface ContentLengthOptions extends Limits {
  /** Most bytes of the header block, its empty line included. @default 8192 */
  maxHeader?: number;
  /** Accept lines that end with LF alone, blanks around a header's name, and empty lines between frames. @default false */
  lenient?: boolean;
}

const rules = { ...limitRules, maxHeader: whole(8192, 1, 2 ** 20), lenient: flag };

/**
 * Frames behind a header block with their length, as the Language Server Protocol and the Debug Adapter Protocol have
 * it: `Content-Length: 2`, CR LF, an empty line, the payload. Names count in any case; other headers are ignored; a
 * missing or repeated Content-Length is refused (which of two counts is how requests are smuggled), and so is a control
 * character in a header line. Blanks are SP and HTAB.
 * Source: Language Server Protocol 3.17, "Header Part"; RFC 9112 for the syntax of a header.
 * @throws OptionError for an option that is not known or does not fit
 */
export function contentLength(options?: ContentLengthOptions): Framing {
  const where = 'content-length';
  const checked = checkOptions(where, options, rules);
  const policy = policyOf(checked);
  const { maxHeader, lenient } = checked;
  return makeFraming(
    where,
    (o) => new ContentLengthDecoder(maxHeader, lenient, policy, o),
    (o) => new ContentLengthEncoder(where, policy, o),
  );
}

const CR = 13;
const LF = 10;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
// `trim` and `\s` know more blanks than HTTP does, NBSP and vertical tab among them.
const OUTER_BLANKS = /^[ \t]+|[ \t]+$/g;
// oxlint-disable-next-line no-control-regex -- these are looked for
const CONTROL = /[\0-\x08\n-\x1f\x7f]/;
const ASCII = /^[ -~\t]*$/;
/** `from` of bytes between frames that are nothing. */
const IDLE = -2;

class ContentLengthDecoder extends FrameDecoder {
  readonly #maxHeader: number;
  readonly #lenient: boolean;
  /** Where the header line being read begins, from the frame's first byte on. */
  #line = 0;
  #payloadAt = 0;

  constructor(maxHeader: number, lenient: boolean, policy: Policy, options?: DecoderOptions) {
    super('content-length', policy, options);
    this.#maxHeader = maxHeader;
    this.#lenient = lenient;
  }

  protected override locate(buf: Buffer, start: number, end: number): number {
    if (this.#lenient) {
      const empty = emptyLine(buf, start, end);
      if (empty === MORE) return this.more(2, false);
      if (empty > 0) {
        this.from = IDLE;
        return start + empty;
      }
    }
    const payloadAt = this.#blockEnd(buf, start, end);
    if (payloadAt < 0) return payloadAt;

    const length = this.#length(buf, start, payloadAt);
    if (length.malformed !== undefined) return this.malformed(buf, start, end, length.malformed);
    const { text } = length;
    if (!/^\d+$/.test(text)) {
      const why = `Content-Length ${quoted(text)} is not a number of bytes`;
      const value = text === '' ? Number.NaN : Number(text);
      return this.refuse(buf, start, end, undefined, (place) => new InvalidLengthError(value, why, place));
    }
    const size = Number(text);
    const header = payloadAt - start;
    if (size > this.limit) {
      return this.tooLarge(buf, start, end, Number.isSafeInteger(size) ? size : BigInt(text), header + size);
    }
    const total = header + size;
    if (end - start < total) {
      this.scanned = 0;
      this.#payloadAt = header;
      return this.more(total, true);
    }
    this.from = payloadAt;
    this.to = start + total;
    return this.to;
  }

  /** Where the payload begins, behind the empty line; MORE or FAULT. */
  #blockEnd(buf: Buffer, start: number, end: number): number {
    if (this.scanned === 0) this.#line = 0;
    const most = Math.min(end, start + this.#maxHeader);
    let at = start + this.scanned;
    for (;;) {
      const lf = buf.indexOf(LF, at);
      if (lf < 0 || lf >= most) break;
      const line = start + this.#line;
      const withCR = lf > line && buf[lf - 1] === CR;
      if (!withCR && !this.#lenient) {
        return this.malformed(buf, start, end, 'a header line ends with LF alone, not with CR LF');
      }
      if (lf - line === (withCR ? 1 : 0)) return lf + 1;
      at = lf + 1;
      this.#line = at - start;
    }
    if (end - start > this.#maxHeader) {
      const maxHeader = this.#maxHeader;
      return this.refuse(buf, start, end, undefined, (place) => {
        return new FrameTooLargeError(maxHeader + 1, maxHeader, place, 'a header block');
      });
    }
    this.scanned = end - start;
    return this.more(end - start + 1, false);
  }

  #length(buf: Buffer, start: number, end: number): { text: string; malformed?: string } {
    let text: string | undefined;
    const block = buf.toString('latin1', start, end);
    for (const raw of block.split('\n')) {
      const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
      if (line === '') continue;
      if (CONTROL.test(line)) return bad(`${quoted(line)} holds a control character`);
      const before = line.slice(0, Math.max(0, line.indexOf(':')));
      const name = this.#lenient ? before.replace(OUTER_BLANKS, '') : before;
      if (!TOKEN.test(name)) return bad(`${quoted(line)} is not a header line`);
      if (name.toLowerCase() !== 'content-length') continue;
      if (text !== undefined) return bad('Content-Length stands there twice');
      text = line.slice(before.length + 1).replace(OUTER_BLANKS, '');
      if (!ASCII.test(text)) return bad(`Content-Length ${quoted(text)} is not ASCII text`);
    }
    return text === undefined ? bad('the header block has no Content-Length') : { text };
  }

  protected override finish(_buf: Buffer, start: number, end: number): boolean {
    if (!this.sized) return false;
    this.from = start + this.#payloadAt;
    this.to = end;
    return true;
  }
}

function bad(malformed: string): { text: string; malformed: string } {
  return { text: '', malformed };
}

/** The length of an empty line at `start`; 0 when something else stands there, MORE when one more byte will tell. */
function emptyLine(buf: Buffer, start: number, end: number): number {
  if (buf[start] === LF) return 1;
  if (buf[start] !== CR) return 0;
  if (end - start === 1) return MORE;
  return buf[start + 1] === LF ? 2 : 0;
}

/** The beginning of a text, with what a terminal could obey written out. */
function quoted(text: string): string {
  const shown = text
    .slice(0, 40)
    .replace(/[^ -~]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return `"${shown}"`;
}

class ContentLengthEncoder extends FrameEncoder {
  override header(length: number): Buffer {
    checkValue(this.framing, 'length', length, anyLength);
    this.checkLimit(Buffer.alloc(0), length);
    return Buffer.from(head(length));
  }

  override pieces(payload: Buffer): Buffer[] {
    return [this.header(payload.length), payload];
  }

  protected override measure(payload: Buffer): number {
    this.checkLimit(payload, payload.length);
    return head(payload.length).length + payload.length;
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    copyBytes(payload, target, at + target.write(head(payload.length), at, 'latin1'));
  }
}

function head(length: number): string {
  return `Content-Length: ${length}\r\n\r\n`;
}
