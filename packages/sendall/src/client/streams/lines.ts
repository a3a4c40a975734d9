/** Output as lines of text: cut first, then decoded, so that no network cut shows. */
import { delimited, lines } from '@sendall/framing/lines';
import { UsageError } from '../../errors.js';

/** How to split output into lines. */
export interface LineOptions {
  /**
   * Most bytes of a line; a longer one throws.
   * @default 1_048_576
   */
  maxLine?: number;
  /**
   * What ends a line, for example "\0" after `find -print0`.
   * @default LF, with or without CR
   */
  delimiter?: string | Uint8Array;
  /**
   * Keep the ends of lines.
   * @default false
   */
  keepEnds?: boolean;
}

/** Assembles lines from the pieces of one stream. */
export class LineCutter {
  readonly #parser;
  readonly #decoder;

  /**
   * @throws UsageError for an encoding in which a byte of another character may equal a line's end, and for an empty
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

  /** The lines completed by this piece. */
  cut(bytes: Buffer): string[] {
    return this.#parser.decode(bytes).map((line) => this.#decoder.decode(line));
  }

  /** A last line without an end. */
  rest(): string[] {
    const last: string[] = [];
    this.#parser.end((line) => void last.push(this.#decoder.decode(line)));
    return last;
  }
}
