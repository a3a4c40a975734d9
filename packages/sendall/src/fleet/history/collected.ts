/** One stream of one host while its command runs: its digest, and its bytes as long as there is room for them. */
import { createHash, hash, type Hash } from 'node:crypto';
import type { Blobs } from './blobs.js';
import type { Piece } from './records.js';

/** Output of up to this many bytes stands in the host's record, longer output in a blob. */
const SHORT = 256;

/** Bytes of output that a run may still keep. All of its streams share it. */
export interface Room {
  left: number;
}

export class Collected {
  readonly #room: Room;
  #chunks: Buffer[] | undefined = [];
  #size = 0;
  #hash: Hash | undefined;
  #sha256: string | undefined;
  /** Bytes are missing, so neither a digest nor the output is worth keeping. */
  #spoiled = false;

  constructor(room: Room) {
    this.#room = room;
  }

  /** The next bytes, at an offset of the stream. */
  add(bytes: Uint8Array, offset: number): void {
    if (offset !== this.#size) this.spoil();
    if (this.#spoiled) return;
    this.#size += bytes.length;
    const fits = bytes.length <= this.#room.left;
    if (this.#chunks && (!fits || this.#size > SHORT))
      this.#hash ??= this.#chunks.reduce((hash, chunk) => hash.update(chunk), createHash('sha256'));
    this.#hash?.update(bytes);
    if (!this.#chunks) return;
    if (!fits) {
      this.#drop();
      return;
    }
    this.#room.left -= bytes.length;
    // A view would hold on to the whole chunk that it was cut from.
    this.#chunks.push(Buffer.from(bytes));
  }

  /** All of the stream, from a result. Its digest may be known already. */
  takeWhole(bytes: Buffer, sha256: string | undefined): void {
    if (this.#size || this.#spoiled || !bytes.length) return;
    this.#size = bytes.length;
    this.#sha256 = sha256;
    if (bytes.length <= this.#room.left) {
      this.#room.left -= bytes.length;
      this.#chunks = [bytes];
    } else this.#chunks = undefined;
    if (!sha256 && (bytes.length > SHORT || !this.#chunks)) this.#sha256 = hash('sha256', bytes, 'hex');
  }

  /** Bytes of the stream are missing. */
  spoil(): void {
    this.#spoiled = true;
    this.#drop();
  }

  /** What is kept of the stream, which has this many bytes in all. Stores its blob; `failed`: that was not possible. */
  finish(bytes: number, blobs: Blobs, now: number, failed: (error: Error) => void): Piece | undefined {
    if (bytes === 0) return undefined;
    const chunks = this.#chunks;
    const held = this.#held;
    this.#chunks = undefined;
    if (this.#spoiled || bytes !== this.#size) {
      this.#room.left += held;
      return { bytes };
    }
    if (bytes <= SHORT && chunks) return { bytes, ...asText(Buffer.concat(chunks)) };
    const sha256 = this.#sha256 ?? this.#hash?.digest('hex');
    if (sha256 === undefined) return { bytes };
    let added = 0;
    try {
      if (chunks) added = blobs.put(sha256, chunks, now);
      else if (blobs.has(sha256, bytes)) blobs.touch(sha256, now);
    } catch (error) {
      failed(error as Error);
    }
    // What other hosts or runs have stored already takes no room.
    this.#room.left += held - added;
    return { bytes, sha256 };
  }

  get #held(): number {
    return this.#chunks ? this.#size : 0;
  }

  #drop(): void {
    for (const chunk of this.#chunks ?? []) this.#room.left += chunk.length;
    this.#chunks = undefined;
  }
}

/** Text when it is whole UTF-8, as in JSON events. */
function asText(bytes: Buffer): Pick<Piece, 'text' | 'base64'> {
  const text = bytes.toString();
  return Buffer.from(text).equals(bytes) ? { text } : { base64: bytes.toString('base64') };
}

/** The SHA-256 of a piece; undefined when the stream was not received whole. */
export function digestOf(piece: Piece | undefined): string | undefined {
  return piece?.sha256 ?? hashOf(bytesOf(piece));
}

const hashOf = (bytes: Buffer | undefined) => bytes && hash('sha256', bytes, 'hex');

/** The output that stands in a record. */
export function bytesOf(piece: Piece | undefined): Buffer | undefined {
  if (!piece) return Buffer.alloc(0);
  if (piece.text !== undefined) return Buffer.from(piece.text);
  return piece.base64 === undefined ? undefined : Buffer.from(piece.base64, 'base64');
}
