/** The search for one delimiter or the first of several. */
import { Buffer } from 'node:buffer';
import { MORE } from '../decoder.js';
import { wrongOption } from '../options.js';

/** A set of delimiters: the one that begins first counts, the longest of those that begin at the same byte. */
export class Delimiters {
  /** Longest first. */
  readonly #all: readonly Buffer[];
  /** The only delimiter, as `indexOf` likes it: one byte as a number. */
  readonly single: Buffer | number | undefined;
  /** Which bytes a delimiter can begin with. */
  readonly #begins: Uint8Array;
  readonly longest: number;
  /** What an encoder writes. */
  readonly toWrite: Buffer;
  /** Length of the delimiter that `find` found. */
  width = 0;

  constructor(where: string, delimiters: readonly Buffer[]) {
    if (delimiters.length === 0) throw wrongOption(where, 'by', 'expected at least one delimiter');
    if (delimiters.some((each) => each.length === 0)) throw wrongOption(where, 'by', 'a delimiter is empty');
    const first = Buffer.from(delimiters[0] as Buffer);
    this.#all = delimiters.map((each) => Buffer.from(each)).sort((a, b) => b.length - a.length);
    this.longest = (this.#all[0] as Buffer).length;
    if (this.#all.length === 1) this.single = first.length === 1 ? first[0] : first;
    this.#begins = new Uint8Array(256);
    for (const each of this.#all) this.#begins[each[0] as number] = 1;
    this.toWrite = this.#all.find((each) => each.subarray(0, first.length).equals(first)) ?? first;
  }

  /**
   * The position of the first delimiter in [start, end), its length in `width`; or MORE when there is none, or one that
   * could still become a longer one. `atEnd`: nothing follows `end`.
   */
  find(buf: Buffer, start: number, end: number, atEnd: boolean): number {
    if (this.single !== undefined) {
      const found = buf.indexOf(this.single as number, start);
      this.width = this.longest;
      return found >= 0 ? found : MORE;
    }
    for (let at = start; at < end; at++) {
      if (this.#begins[buf[at] as number] === 0) continue;
      for (const each of this.#all) {
        const seen = Math.min(each.length, end - at);
        if (!same(buf, at, each, seen)) continue;
        if (seen === each.length) {
          this.width = seen;
          return at;
        }
        if (!atEnd) return MORE;
      }
    }
    return MORE;
  }

  /** How many of the last bytes may be the beginning of a delimiter; `find` found none. */
  tail(buf: Buffer, start: number, end: number): number {
    for (let at = Math.max(start, end - this.longest + 1); at < end; at++) {
      if (this.#all.some((each) => end - at <= each.length && same(buf, at, each, Math.min(each.length, end - at)))) {
        return end - at;
      }
    }
    return 0;
  }

  /** The length of the delimiter that the bytes end with; 0 without one. */
  atEndOf(bytes: Buffer): number {
    const found = this.#all.find((each) => {
      return bytes.length >= each.length && same(bytes, bytes.length - each.length, each, each.length);
    });
    return found?.length ?? 0;
  }
}

function same(buf: Buffer, at: number, bytes: Buffer, length: number): boolean {
  for (let i = 0; i < length; i++) if (buf[at + i] !== bytes[i]) return false;
  return true;
}
