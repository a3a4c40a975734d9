/** Lines of text. */
import { Buffer } from 'node:buffer';
import type { Bytes, Decoder, DecoderOptions, Framing, Limits } from '../framing.js';
import { checkOptions, checkValue, flag, limitRules, other, policyOf, whole, word } from '../options.js';
import { delimitedBy } from './delimited.js';
import { Delimiters } from './delimiters.js';

/** Options of {@link lines}. */
export interface LinesOptions extends Limits {
  /**
   * `any`: a line ends with LF, and a CR before it belongs to the end. `lf`: with LF, a CR is text. `crlf`: with CR LF
   * and nothing else (strict, as SMTP demands: a lenient reader there lets mail be smuggled). The encoder writes LF for
   * `any` and `lf`.
   * @default 'any'
   */
  eol?: 'any' | 'lf' | 'crlf';
  /** Deliver the line end with its line. @default false */
  keep?: boolean;
  /**
   * Deliver a longer line in pieces of this many bytes, each as soon as it is there; the rest of the line follows as
   * further frames.
   * @default no cutting
   */
  cut?: number;
}

/** A decoder of lines, which also gives them as strings. */
export interface LineDecoder extends Decoder {
  /**
   * As `decode`, with the lines as strings (UTF-8, U+FFFD for what is not): several times as fast as a `toString` for
   * each, as the lines of a chunk share their memory, which they keep alive together.
   * @throws FramingError, with the lines before it as bytes in `frames`
   */
  decodeText(chunk: Bytes): string[];
}

/** Lines of text; see {@link lines}. */
export interface LineFraming extends Framing {
  decoder(options?: DecoderOptions): LineDecoder;
}

const rules = { ...limitRules, eol: word('any', 'lf', 'crlf'), keep: flag, cut: other<number>() };

/**
 * Lines of text. Frames are bytes: use `toString` on one, which holds whole characters, or `decodeText`.
 * @throws OptionError for an option that is not known or does not fit
 */
export function lines(options?: LinesOptions): LineFraming {
  const checked = checkOptions('lines', options, rules);
  const policy = policyOf(checked);
  const { eol, keep, cut } = checked;
  if (cut !== undefined) checkValue('lines', 'cut', cut, whole(0, 1, policy.maxFrameLength));
  const delimiters = new Delimiters('lines', [Buffer.from(eol === 'crlf' ? '\r\n' : '\n')]);
  return delimitedBy(eol === 'crlf' ? 'crlf' : 'lines', delimiters, policy, { keep, stripCR: eol === 'any', cut });
}
