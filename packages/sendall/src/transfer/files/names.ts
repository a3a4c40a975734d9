/** Names of files as bytes: which are allowed, which are ours, and compact sets of them. */
import { createHash, randomBytes } from 'node:crypto';
import { ProtocolError } from '../../errors.js';

const SLASH = 0x2f;
const DOT = 0x2e;
const BETWEEN = Buffer.from('/');

/** The path of a name in a folder. */
export const joined = (folder: Buffer, name: Buffer): Buffer => Buffer.concat([folder, BETWEEN, name]);

/**
 * A name from the other side must be one component of a path.
 * @throws ProtocolError
 */
export function checkName(name: Uint8Array, maxName: number): void {
  if (name.length === 0 || name.length > maxName)
    throw new ProtocolError(`a name of ${name.length} bytes; it has 1 to ${maxName} (maxName)`);
  if (name.includes(0) || name.includes(SLASH)) throw new ProtocolError('a name with a slash or a zero byte');
  if (name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT)))
    throw new ProtocolError('the name . or ..');
}

const PREFIX = '.sendall-';
const TEMPORARY = /^\.sendall-(?:unfinished|[0-9A-Za-z-]{1,64}-\d{1,16}(?:\.[0-9a-f]{16})?)$/;
/** In a folder that a transfer has made as its destination and not completed; it holds the source's name. */
export const UNFINISHED = Buffer.from('.sendall-unfinished');
const RUN = /^[0-9A-Za-z-]{1,64}$/;
const MARK_DIGITS = 16;

/** Whether a name is one of our temporary files or marks. */
export const isTemporary = (name: Buffer): boolean =>
  name.length > PREFIX.length && name[0] === DOT && TEMPORARY.test(name.toString('latin1'));

/** Whether a temporary file is one that a later transfer may resume. */
export const isMarked = (name: Buffer): boolean => name.at(-MARK_DIGITS - 1) === DOT;

/** What the temporary files for a name end with, so that a later transfer finds them. */
export const markOf = (name: Buffer): string =>
  `.${createHash('sha256').update(name).digest('hex').slice(0, MARK_DIGITS)}`;

/** The names of one transfer's temporary files. They are short, whatever the length of a file's own name. */
export class Temporaries {
  readonly #run: string;
  #count = 0;

  constructor(run: string | undefined) {
    this.#run = run !== undefined && RUN.test(run) ? run : randomBytes(8).toString('hex');
  }

  /** A new one, for the file of this name if a later transfer is to find it. */
  next(name?: Buffer): Buffer {
    return Buffer.from(`${PREFIX}${this.#run}-${++this.#count}${name ? markOf(name) : ''}`);
  }
}

const FEWEST_PLACES = 64;

/**
 * A set of names that takes about 16 bytes for each, as a folder may have a million. It knows them by 53 bits of a hash
 * with a random start: two names are taken for one less often than once in a billion folders.
 */
export class NameSet {
  #places = new Float64Array(FEWEST_PLACES);
  #count = 0;
  readonly #start = randomBytes(8).readUInt32LE();

  add(name: Buffer): void {
    if (2 * ++this.#count > this.#places.length) this.#grow();
    this.#put(this.#hash(name));
  }

  has(name: Buffer): boolean {
    const hash = this.#hash(name);
    const mask = this.#places.length - 1;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const there = this.#places[at];
      if (there === hash) return true;
      if (there === 0) return false;
    }
  }

  #put(hash: number): void {
    const mask = this.#places.length - 1;
    let at = hash & mask;
    while (this.#places[at] !== 0 && this.#places[at] !== hash) at = (at + 1) & mask;
    this.#places[at] = hash;
  }

  #grow(): void {
    const old = this.#places;
    this.#places = new Float64Array(2 * old.length);
    for (const hash of old) if (hash !== 0) this.#put(hash);
  }

  /** FNV-1a, twice with different primes. */
  #hash(name: Buffer): number {
    let [low, high] = [this.#start, ~this.#start];
    for (const byte of name) {
      low = Math.imul(low ^ byte, 0x0100_0193);
      high = Math.imul(high ^ byte, 0x0141_5f11);
    }
    low ^= low >>> 15;
    return (high >>> 11) * 0x1_0000_0000 + (low >>> 0) + 1;
  }
}
