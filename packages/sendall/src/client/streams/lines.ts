/** Output as lines of text: cut first, then decoded, so that no cut of the network shows. */
import { delimited, lines } from '@sendall/framing/lines';
import { UsageError } from '../../errors.js';

/** How output is taken apart into lines. */
export interface LineOptions {
  /**
   * Bytes that a line may have; a longer one throws.
   * @default 1_048_576
   */
  maxLine?: number;
  /**
   * What ends a line, for example "\0" after `find -print0`.
   * @default LF, with or without CR
   */
  delimiter?: string | Uint8Array;
  /**
   * Leave the lines' ends where they are.
   * @default false
   */
  keepEnds?: boolean;
}

/** Puts the pieces of one stream together to lines. */
export class LineCutter {
  readonly #parser;
  readonly #decoder;

  /**
   * @throws UsageError for an encoding whose characters may hold a byte that looks like a line's end, and for an empty
   * delimiter.
   */
  constructor(encoding: string, { maxLine = 1024 * 1024, delimiter, keepEnds = false }: LineOptions) {
    if (/^utf-?16/i.test(encoding))
      throw new UsageError(`lines() cannot cut ${encoding}: read text() or the stream instead`);
    if (delimiter?.length === 0) throw new UsageError('lines(): the delimiter is empty');
    const options = { maxFrameLength: maxLine, keep: keepEnds, onEnd: 'deliver' } as const;
    this.#parser = (delimiter === undefined ? lines(options) : delimited(delimiter, options)).decoder();
    this.#decoder = new TextDecoder(encoding, { ignoreBOM: true });
  }

  /** The lines that are whole with this piece. */
  cut(bytes: Buffer): string[] {
    return this.#parser.decode(bytes).map((line) => this.#decoder.decode(line));
  }

  /** A last line that has no end. */
  rest(): string[] {
    const last: string[] = [];
    this.#parser.end((line) => void last.push(this.#decoder.decode(line)));
    return last;
  }
}
