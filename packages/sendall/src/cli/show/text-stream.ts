/** Decodes text in legacy encodings, piece by piece. */

/** Encodings whose platform decoder cannot decode piecewise, by TextDecoder's names. */
const FRAGILE = new Set(['gbk', 'gb18030', 'euc-jp']);
/** Most bytes of an incomplete character. */
const LONGEST = 3;

/**
 * Like a streaming TextDecoder. That one throws ERR_ENCODING_INVALID_ENCODED_DATA when invalid bytes are split between
 * pieces (81 30 | 00 in GBK, on Node 24), because the pending bytes decode to more text than it has room for. Here
 * incomplete bytes are kept outside, and each piece is decoded from the beginning of a character. ISO-2022-JP, which
 * switches between character sets, cannot be decoded from the middle; there such bytes become one U+FFFD.
 */
export class TextStream {
  readonly #decoder;
  readonly #fragile: boolean;
  #waiting = Buffer.alloc(0);

  /** @throws RangeError for an encoding that TextDecoder does not know */
  constructor(encoding: string) {
    this.#decoder = new TextDecoder(encoding, { ignoreBOM: true });
    this.#fragile = FRAGILE.has(this.#decoder.encoding);
  }

  /**
   * Like TextDecoder's: with `stream` more pieces follow; without it, pending bytes are decoded and the next piece
   * starts afresh.
   */
  decode(piece: Uint8Array = new Uint8Array(0), { stream = false } = {}): string {
    if (!this.#fragile) return this.#passedOn(piece, stream);
    const text = this.#whole(piece);
    if (stream) return text;
    const rest = this.#decoder.decode(this.#waiting);
    this.#waiting = Buffer.alloc(0);
    return text + rest;
  }

  #passedOn(piece: Uint8Array, stream: boolean): string {
    try {
      return this.#decoder.decode(piece, { stream });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_ENCODING_INVALID_ENCODED_DATA') throw error;
      return '\ufffd';
    }
  }

  /** The characters completed by this piece. */
  #whole(piece: Uint8Array): string {
    const decoder = this.#decoder;
    const bytes = Buffer.concat([this.#waiting, piece]);
    const text = decoder.decode(bytes, { stream: true });
    let whole = bytes.length;
    if (decoder.decode() !== '') {
      const least = Math.max(0, bytes.length - LONGEST);
      // Hold back as few of the last bytes as possible.
      for (let end = bytes.length - 1; end >= least && whole === bytes.length; end--) {
        if (decoder.decode(bytes.subarray(0, end)) === text) whole = end;
      }
    }
    this.#waiting = Buffer.from(bytes.subarray(whole));
    return text;
  }
}
