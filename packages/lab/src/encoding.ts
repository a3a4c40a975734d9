/** Text in the encodings of the tutorial, UTF-8 and GBK, and detection of the encoding of an output. */
import iconv from 'iconv-lite';

/** A text encoding that the lab supports. */
export type Encoding = 'utf-8' | 'gbk';
export const ENCODINGS: readonly Encoding[] = ['utf-8', 'gbk'];

export function encodeText(value: string, encoding: Encoding): Buffer {
  return iconv.encode(value, encoding);
}

/** Decodes bytes to text, piece by piece; a character cut between two pieces waits for its rest. */
export interface TextDecoderStream {
  write(bytes: Uint8Array): string;
  /** Ends one answer: decodes pending bytes and starts afresh for the next answer. */
  end(): string;
}

export function textDecoder(encoding: Encoding | 'auto'): TextDecoderStream {
  if (encoding === 'auto') return new AutoDecoder();
  if (encoding === 'gbk') return gbkDecoder();
  let decoder = new TextDecoder(encoding, { ignoreBOM: true });
  return {
    write: (bytes) => decoder.decode(bytes, { stream: true }),
    end() {
      const rest = decoder.decode();
      decoder = new TextDecoder(encoding, { ignoreBOM: true });
      return rest;
    },
  };
}

/** Most bytes of an incomplete character in GBK (as extended by GB 18030). */
const LONGEST_BEGUN = 3;

/**
 * GBK with the platform's decoder, which throws in the middle of a stream when invalid bytes are split between pieces
 * (81 30 | 00, since Node 24: the pending bytes decode to more text than it has room for). So incomplete bytes are kept
 * here, and each piece is decoded from the beginning of a character.
 */
function gbkDecoder(): TextDecoderStream {
  const decoder = new TextDecoder('gbk', { ignoreBOM: true });
  let waiting = Buffer.alloc(0);
  // GBK's euro sign (A2 E3), which the platform's decoder maps to a private-use character.
  const shown = (text: string) => text.replaceAll('\ue76c', '€');
  return {
    write(piece) {
      const bytes = Buffer.concat([waiting, piece]);
      const text = decoder.decode(bytes, { stream: true });
      let whole = bytes.length;
      if (decoder.decode() !== '') {
        const least = Math.max(0, bytes.length - LONGEST_BEGUN);
        // Hold back the last bytes that do not complete a character.
        for (let end = bytes.length - 1; end >= least && whole === bytes.length; end--) {
          if (decoder.decode(bytes.subarray(0, end)) === text) whole = end;
        }
      }
      waiting = Buffer.from(bytes.subarray(whole));
      return shown(text);
    },
    end() {
      const rest = decoder.decode(waiting);
      waiting = Buffer.alloc(0);
      return shown(rest);
    },
  };
}

/** Decodes UTF-8 or GBK, as detected. */
class AutoDecoder implements TextDecoderStream {
  #detector = new EncodingDetector();
  #decoder: TextDecoderStream | undefined;

  write(bytes: Uint8Array): string {
    return this.#decode(this.#detector.push(Buffer.from(bytes)));
  }

  end(): string {
    const text = this.#decode(this.#detector.end());
    const rest = this.#decoder?.end() ?? '';
    this.#detector = new EncodingDetector();
    this.#decoder = undefined;
    return text + rest;
  }

  #decode(bytes: Buffer): string {
    const { encoding } = this.#detector;
    if (encoding === undefined) return bytes.toString('latin1'); // ASCII
    this.#decoder ??= textDecoder(encoding);
    return this.#decoder.write(bytes);
  }
}

/**
 * Holds bytes back until their encoding is clear. ASCII is the same in both and passes immediately; from the first
 * other byte on, bytes wait for a decision (at most 512), so that the result does not depend on how the bytes are cut.
 */
export class EncodingDetector {
  #held = Buffer.alloc(0);
  /** Undefined while only ASCII has passed. */
  encoding: Encoding | undefined;

  /** The bytes that may pass: earlier ones, then these, as far as their encoding is clear. */
  push(bytes: Buffer): Buffer {
    return this.encoding ? bytes : this.#release(bytes, false);
  }

  /** The end: decides from the bytes seen so far. */
  end(): Buffer {
    return this.#release(Buffer.alloc(0), true);
  }

  #release(bytes: Buffer, final: boolean): Buffer {
    const all = this.#held.length > 0 ? Buffer.concat([this.#held, bytes]) : bytes;
    const first = all.findIndex((byte) => byte >= 0x80);
    if (first !== -1) this.encoding ??= detectEncoding(all.subarray(first), final);
    const passing = first === -1 || this.encoding ? all.length : first;
    this.#held = Buffer.from(all.subarray(passing));
    return all.subarray(0, passing);
  }
}

/** Most bytes a decision may need, counted from the first one beyond ASCII. */
const EVIDENCE = 512;

/**
 * The encoding of the bytes, or `undefined` while more of them could decide (never when `final`, nor beyond 512 bytes).
 *
 * GBK text is almost never valid UTF-8. When it is, it looks like two-byte sequences, so those count for UTF-8 only in
 * the blocks of accented Latin, Greek and Cyrillic. A valid three-byte sequence counts for UTF-8. Bytes valid in
 * neither encoding count as UTF-8, whose decoder marks each bad byte.
 */
export function detectEncoding(bytes: Uint8Array, final = true): Encoding | undefined {
  const limit = Math.min(bytes.length, EVIDENCE);
  const complete = final || bytes.length >= EVIDENCE;
  let common = true; // every two-byte sequence so far is in a block in common use
  for (let at = 0; at < limit;) {
    const length = utf8Length(bytes, at, limit);
    if (length === 0) break;
    // Only bytes up to the first bad one count, so that later bytes in the same piece make no difference.
    if (length < 0) return isGbk(bytes.subarray(0, at - length), true) ? 'gbk' : 'utf-8';
    if (length === 2 && !COMMON_BLOCKS.has(bytes[at]!)) common = false;
    at += length;
    if (length >= 3) {
      const following = at < limit ? utf8Length(bytes, at, limit) : 0;
      if (following > 0 || (following === 0 && complete)) return 'utf-8';
    }
  }
  if (!complete) return undefined;
  return common || !isGbk(bytes.subarray(0, limit), bytes.length > limit) ? 'utf-8' : 'gbk';
}

/** Lead bytes of U+0080–U+00FF, U+0380–U+03FF and U+0400–U+047F. */
const COMMON_BLOCKS = new Set([0xc2, 0xc3, 0xce, 0xcf, 0xd0, 0xd1]);

/** The length of the UTF-8 sequence at a place; 0 when the bytes end inside it; -n when its n-th byte is wrong. */
function utf8Length(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at]!;
  if (lead < 0x80) return 1;
  const length = lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) === 0xe0 ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : -1;
  for (let index = 1; index < length; index++) {
    if (at + index >= end) return 0;
    const byte = bytes[at + index]!;
    const low = index > 1 ? 0x80 : lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const high = index > 1 ? 0xbf : lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    if (byte < low || byte > high) return -(index + 1);
  }
  return length;
}

/** Whether the bytes can be GBK: ASCII, and pairs of a lead byte (81–FE) and a trail byte (40–7E, 80–FE). */
function isGbk(bytes: Uint8Array, mayEndInAPair: boolean): boolean {
  for (let at = 0; at < bytes.length; at++) {
    const lead = bytes[at]!;
    if (lead < 0x80) continue;
    if (lead === 0x80 || lead === 0xff) return false;
    if (++at === bytes.length) return mayEndInAPair;
    const trail = bytes[at]!;
    if (trail < 0x40 || trail === 0x7f || trail === 0xff) return false;
  }
  return true;
}
