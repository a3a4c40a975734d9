/**
 * A bounded part of a run's output, in the order in which it came: bytes and where their rows begin. Nothing is decoded
 * before it is drawn, so another encoding costs only a new look for line ends, and fast output costs a loop over bytes.
 */

/** Bytes that are kept, and rows: what is beyond is dropped at the other end and stays on the host. */
export const MOST_BYTES = 8 * 2 ** 20;
export const MOST_ROWS = 200_000;
/** Pieces that are kept: a command may write single bytes. */
const MOST_PIECES = 50_000;
/** Bytes of the longest row; a longer line goes on in the next one. */
export const LONGEST_ROW = 2000;

export const STREAMS = ['stdout', 'stderr'] as const;
export type Stream = (typeof STREAMS)[number];
/** How line ends are found: a byte, or a unit of two bytes. */
export type Newline = 'byte' | 'utf-16le' | 'utf-16be';

export interface Piece {
  /** Undefined for a note of the page itself, whose bytes are UTF-8. */
  readonly stream: Stream | undefined;
  /** Offset of the first byte in its stream. */
  readonly offset: number;
  /** Milliseconds since the run's start. */
  readonly timeMs: number | undefined;
  readonly bytes: Uint8Array;
}

export interface View {
  readonly newline: Newline;
  /** The streams that are drawn. */
  readonly streams: readonly Stream[];
}

export type Offsets = Readonly<Record<Stream, number>>;

const LF = 10;
const encoder = new TextEncoder();

export class OutputBuffer {
  /** Where each stream begins and ends in this buffer. */
  readonly #begin: Record<Stream, number> = { stdout: 0, stderr: 0 };
  readonly #end: Record<Stream, number> = { stdout: 0, stderr: 0 };
  #pieces: Piece[] = [];
  /** The number of the first piece: pieces are numbered from the first one ever. */
  #firstPiece = 0;
  #bytes = 0;
  /** Where rows begin: the piece's number, and the byte in it. The first `#dropped` entries are gone. */
  #rowPieces: number[] = [];
  #rowBytes: number[] = [];
  #dropped = 0;
  #view: View;
  /** Of the last row: its bytes so far. */
  #length = 0;
  /** The last byte of each stream, for units of two bytes. */
  readonly #before: Record<Stream, number> = { stdout: -1, stderr: -1 };
  /** The next byte begins a row. */
  #isFresh = true;

  constructor(view: View) {
    this.#view = view;
  }

  get begin(): Offsets {
    return this.#begin;
  }

  get end(): Offsets {
    return this.#end;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get rows(): number {
    return this.#rowPieces.length - this.#dropped;
  }

  get isFull(): boolean {
    return this.#bytes >= MOST_BYTES || this.rows >= MOST_ROWS || this.#pieces.length >= MOST_PIECES;
  }

  /** Forgets everything; what comes next begins at these offsets. */
  clear(at: Offsets): void {
    Object.assign(this.#begin, at);
    Object.assign(this.#end, at);
    this.#pieces = [];
    this.#firstPiece = 0;
    this.#bytes = 0;
    this.#look(this.#view);
  }

  /** Takes a piece at the end. Bytes that are here are left out; the answer is how many the piece skipped. */
  append(piece: Piece & { readonly stream: Stream }): number {
    const { stream } = piece;
    // On a fast link, output may come before the answer that says where it begins.
    if (this.#begin[stream] === this.#end[stream] && piece.offset < this.#end[stream])
      this.#begin[stream] = this.#end[stream] = piece.offset;
    const end = this.#end[stream];
    const known = Math.max(0, end - piece.offset);
    if (known >= piece.bytes.length && piece.bytes.length > 0) return 0;
    const fresh = known === 0 ? piece : { ...piece, offset: end, bytes: piece.bytes.subarray(known) };
    const skipped = Math.max(0, fresh.offset - end);
    this.#end[stream] = fresh.offset + fresh.bytes.length;
    this.#add(fresh);
    return skipped;
  }

  /** A sentence of the page in a row of its own. */
  note(text: string): void {
    this.#add({ stream: undefined, offset: 0, timeMs: undefined, bytes: encoder.encode(text) });
  }

  /** Takes pieces that lie just before what is here. The answer is how many rows that put in front. */
  prepend(pieces: readonly Piece[]): number {
    const before = this.rows;
    for (const { stream, offset } of pieces)
      if (stream !== undefined) this.#begin[stream] = Math.min(this.#begin[stream], offset);
    this.#pieces = [...pieces, ...this.#pieces];
    this.#firstPiece = 0;
    this.#bytes += pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
    this.#look(this.#view);
    return this.rows - before;
  }

  /** Drops pieces at the beginning until the limits hold. The answer is how many rows went. */
  trimStart(): number {
    const before = this.rows;
    let [bytes, first] = [this.#bytes, 0];
    const firstKept = Math.max(
      this.rows > MOST_ROWS ? this.#rowPieces[this.#rowPieces.length - MOST_ROWS]! : 0,
      this.#firstPiece + this.#pieces.length - MOST_PIECES,
    );
    while (first < this.#pieces.length - 1 && (bytes > MOST_BYTES || this.#firstPiece + first < firstKept)) {
      bytes -= this.#pieces[first]!.bytes.length;
      first += 1;
    }
    if (first === 0) return 0;
    for (const { stream, offset, bytes: gone } of this.#pieces.slice(0, first))
      if (stream !== undefined) this.#begin[stream] = offset + gone.length;
    this.#pieces.splice(0, first);
    this.#firstPiece += first;
    this.#bytes = bytes;
    while (this.#dropped < this.#rowPieces.length && this.#rowPieces[this.#dropped]! < this.#firstPiece)
      this.#dropped += 1;
    // The row that was cut goes on at the first byte that is left.
    if (this.#rowPieces[this.#dropped] !== this.#firstPiece || this.#rowBytes[this.#dropped] !== 0) {
      this.#dropped -= 1;
      this.#rowPieces[this.#dropped] = this.#firstPiece;
      this.#rowBytes[this.#dropped] = 0;
    }
    if (this.#dropped > MOST_ROWS) {
      this.#rowPieces.splice(0, this.#dropped);
      this.#rowBytes.splice(0, this.#dropped);
      this.#dropped = 0;
    }
    return before - this.rows;
  }

  /** Drops pieces at the end until the limits hold; true if any went. */
  trimEnd(): boolean {
    let bytes = this.#bytes;
    let last = this.#pieces.length;
    while (last > 1 && bytes > MOST_BYTES) {
      last -= 1;
      bytes -= this.#pieces[last]!.bytes.length;
    }
    if (last === this.#pieces.length) return false;
    for (const { stream, offset } of this.#pieces.slice(last).toReversed())
      if (stream !== undefined) this.#end[stream] = offset;
    this.#pieces.length = last;
    this.#bytes = bytes;
    this.#look(this.#view);
    return true;
  }

  /** Looks for rows again: with other line ends, or in other streams. */
  show(view: View): void {
    this.#look(view);
  }

  /** The parts of a row, in order. */
  row(index: number): Piece[] {
    const at = this.#dropped + index;
    const [first, from] = [this.#rowPieces[at]!, this.#rowBytes[at]!];
    const isLast = at + 1 >= this.#rowPieces.length;
    const last = isLast ? this.#firstPiece + this.#pieces.length - 1 : this.#rowPieces[at + 1]!;
    const to = isLast ? Infinity : this.#rowBytes[at + 1]!;
    const parts: Piece[] = [];
    for (let number = first; number <= last; number++) {
      const piece = this.#pieces[number - this.#firstPiece];
      if (!piece || !this.#isShown(piece)) continue;
      const start = number === first ? from : 0;
      const bytes = piece.bytes.subarray(start, number === last ? to : undefined);
      if (bytes.length > 0) parts.push({ ...piece, offset: piece.offset + start, bytes });
    }
    return parts;
  }

  /** The row with this byte of a stream, or the one after it. */
  rowOf(stream: Stream, offset: number): number {
    // Pieces of one stream are in order, rows too.
    let found = 0;
    for (let index = 0; index < this.#pieces.length; index++) {
      const piece = this.#pieces[index]!;
      if (piece.stream !== stream) continue;
      if (piece.offset + piece.bytes.length <= offset) continue;
      found = this.#rowAt(this.#firstPiece + index, Math.max(0, offset - piece.offset));
      break;
    }
    return found;
  }

  /** The first row at or after a time, if times are known. */
  rowAtTime(timeMs: number): number | undefined {
    const index = this.#pieces.findIndex((piece) => piece.timeMs !== undefined && piece.timeMs >= timeMs);
    return index < 0 ? undefined : this.#rowAt(this.#firstPiece + index, 0);
  }

  #rowAt(piece: number, byte: number): number {
    let [low, high] = [this.#dropped, this.#rowPieces.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      const number = this.#rowPieces[middle]!;
      if (number < piece || (number === piece && this.#rowBytes[middle]! <= byte)) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low - this.#dropped);
  }

  #isShown({ stream }: Piece): boolean {
    return stream === undefined || this.#view.streams.includes(stream);
  }

  #add(piece: Piece): void {
    this.#pieces.push(piece);
    this.#bytes += piece.bytes.length;
    this.#index(piece, this.#firstPiece + this.#pieces.length - 1);
  }

  #look(view: View): void {
    this.#view = view;
    this.#rowPieces = [];
    this.#rowBytes = [];
    this.#dropped = 0;
    this.#length = 0;
    this.#isFresh = true;
    Object.assign(this.#before, { stdout: -1, stderr: -1 });
    for (const [index, piece] of this.#pieces.entries()) this.#index(piece, this.#firstPiece + index);
  }

  #begins(piece: number, byte: number): void {
    this.#rowPieces.push(piece);
    this.#rowBytes.push(byte);
    this.#length = 0;
    this.#isFresh = false;
  }

  /** Finds the rows of a piece. */
  #index(piece: Piece, number: number): void {
    if (!this.#isShown(piece)) return;
    const { bytes, stream } = piece;
    if (stream === undefined) {
      this.#begins(number, 0);
      this.#isFresh = true;
      return;
    }
    if (this.#view.newline !== 'byte') return this.#indexUnits(piece, number, stream);
    const { length } = bytes;
    let row = this.#length;
    for (let i = 0; i < length; i++) {
      // A row that is cut for its length is not cut inside a character of UTF-8.
      if (this.#isFresh || (row >= LONGEST_ROW && ((bytes[i]! & 0xc0) !== 0x80 || row >= LONGEST_ROW + 4))) {
        this.#begins(number, i);
        row = 0;
      }
      row += 1;
      if (bytes[i] === LF) this.#isFresh = true;
    }
    this.#length = row;
  }

  #indexUnits(piece: Piece, number: number, stream: Stream): void {
    const { bytes, offset } = piece;
    const [first, second] = this.#view.newline === 'utf-16le' ? [LF, 0] : [0, LF];
    for (let i = 0; i < bytes.length; i++) {
      const isSecond = (offset + i) % 2 === 1;
      if (this.#isFresh || (this.#length >= LONGEST_ROW && !isSecond)) this.#begins(number, i);
      this.#length += 1;
      if (isSecond && this.#before[stream] === first && bytes[i] === second) this.#isFresh = true;
      this.#before[stream] = bytes[i]!;
    }
  }
}
