/** Output as lines of text: cut first, then decoded, so that no cut of the network shows. */
import { lines } from '@sendall/framing';
import { UsageError } from '../errors.js';

export interface LineOptions {
  /** Bytes that a line may have; a longer one throws. Default 1 MiB. */
  maxLine?: number;
  /** Leave LF or CRLF where they are. Default false. */
  keepEnds?: boolean;
}

/** Puts the pieces of one stream together to lines. */
export class LineCutter {
  readonly #parser;
  readonly #decoder;

  /** Throws UsageError for an encoding whose characters may hold a byte that looks like a line's end. */
  constructor(encoding: string, { maxLine = 1024 * 1024, keepEnds = false }: LineOptions) {
    if (/^utf-?16/i.test(encoding))
      throw new UsageError(`lines() cannot cut ${encoding}: read text() or the stream instead`);
    this.#parser = lines({ maxFrameLength: maxLine, keep: keepEnds, onEnd: 'deliver' }).decoder();
    this.#decoder = new TextDecoder(encoding);
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
