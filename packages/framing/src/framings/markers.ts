/** The search for sync markers, which frames on noisy lines begin with. */
import { Buffer } from 'node:buffer';
import type { Bytes } from '../framing.js';
import { wrongOption } from '../options.js';
import { asBuffer } from '../view.js';

/** Sync markers: byte strings that a frame can begin with, in a stream that may hold noise between frames. */
export class Markers {
  readonly #markers: readonly Buffer[];
  /** Length of the longest. */
  readonly longest: number;

  constructor(where: string, markers: readonly Bytes[]) {
    if (!Array.isArray(markers) || markers.length === 0) {
      throw wrongOption(where, 'sync', 'sync must be a list of at least one marker');
    }
    this.#markers = markers.map((each) => Buffer.from(asBuffer(each)));
    if (this.#markers.some((each) => each.length === 0)) throw wrongOption(where, 'sync', 'a sync marker is empty');
    this.longest = Math.max(...this.#markers.map((each) => each.length));
  }

  get first(): Buffer {
    return this.#markers[0] as Buffer;
  }

  /** Whether a whole marker stands at `at`. */
  beginsAt(buf: Buffer, at: number, end: number): boolean {
    return this.#markers.some((each) => end - at >= each.length && matches(buf, at, each, each.length));
  }

  /** Where the first marker begins, or could begin: then the bytes behind are too few to tell. `end` if nowhere. */
  find(buf: Buffer, start: number, end: number, atEnd: boolean): number {
    let found = end;
    for (const each of this.#markers) {
      const at = buf.indexOf(each, start);
      if (at >= 0 && at < found) found = at;
    }
    for (let at = Math.max(start, end - this.longest + 1); at < found; at++) {
      if (this.#markers.some((each) => end - at < each.length && matches(buf, at, each, end - at))) {
        return found < end && atEnd ? found : at;
      }
    }
    return found;
  }
}

function matches(buf: Buffer, at: number, marker: Buffer, length: number): boolean {
  for (let i = 0; i < length; i++) if (buf[at + i] !== marker[i]) return false;
  return true;
}
