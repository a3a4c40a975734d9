/** Which files are left out by patterns such as `*.log`, `/build` and `docs/**`. */

const STAR = 0x2a;
const ANY = 0x3f;
const SLASH = 0x2f;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const NOT = 0x21;
const DASH = 0x2d;
const BACKSLASH = 0x5c;

interface Pattern {
  readonly glob: Buffer;
  /** It is about the whole path below the source, not only about a name. */
  readonly whole: boolean;
  readonly foldersOnly: boolean;
}

/**
 * A pattern without a slash is about a name in any folder. With one it is about the path below the source's top folder;
 * a slash at its start says no more than that, one at its end takes folders only. `*` and `?` stand for any bytes or
 * one byte of a name, `**` for any bytes of a path, `[a-z]` and `[!a-z]` for one byte; a backslash takes the meaning of
 * what follows it. What a left out folder has is left out with it.
 */
export class Exclusion {
  readonly #patterns: readonly Pattern[];

  constructor(patterns: readonly Uint8Array[]) {
    this.#patterns = patterns.map((bytes) => {
      let glob = Buffer.from(bytes);
      const foldersOnly = glob.length > 1 && glob.at(-1) === SLASH;
      if (foldersOnly) glob = glob.subarray(0, -1);
      const whole = glob.includes(SLASH);
      if (glob[0] === SLASH) glob = glob.subarray(1);
      return { glob, whole, foldersOnly };
    });
  }

  get isEmpty(): boolean {
    return this.#patterns.length === 0;
  }

  /** `path`: below the source's top folder, or the name of the source itself. */
  has(path: Buffer, name: Buffer, isFolder: boolean): boolean {
    return this.#patterns.some(
      ({ glob, whole, foldersOnly }) => (isFolder || !foldersOnly) && matches(glob, whole ? path : name),
    );
  }
}

/**
 * Whether a pattern matches all of a text. It returns to the last `*` of a name and to the last `**` of a path only, which
 * is enough, so its time is at most the product of the lengths and the number of names.
 */
function matches(glob: Buffer, text: Buffer): boolean {
  let [g, t] = [0, 0];
  let [star, starText] = [-1, 0];
  let [deep, deepText, atNames] = [-1, 0, false];
  while (t < text.length || g < glob.length) {
    if (glob[g] === STAR) {
      if (glob[g + 1] === STAR) {
        g += 2;
        // "a/**/b" is "a/b" too, and not "a/xb".
        atNames = glob[g] === SLASH && (g === 2 || glob[g - 3] === SLASH);
        if (atNames) g++;
        [deep, deepText, star] = [g, t, -1];
      } else [star, starText] = [++g, t];
      continue;
    }
    const next = t < text.length ? one(glob, g, text[t]!) : -1;
    if (next >= 0) [g, t] = [next, t + 1];
    else if (star >= 0 && starText < text.length && text[starText] !== SLASH) [g, t] = [star, ++starText];
    else if (deep >= 0 && deepText < text.length) {
      deepText++;
      if (atNames) while (deepText < text.length && text[deepText - 1] !== SLASH) deepText++;
      if (atNames && text[deepText - 1] !== SLASH) return false;
      [g, t, star] = [deep, deepText, -1];
    } else return false;
  }
  return true;
}

/** Where the pattern goes on behind the part that stands for this byte; -1 when it stands for another. */
function one(glob: Buffer, g: number, byte: number): number {
  const part = glob[g];
  if (part === undefined) return -1;
  if (part === ANY) return byte === SLASH ? -1 : g + 1;
  if (part === OPEN) {
    const end = glob.indexOf(CLOSE, g + (glob[g + 1] === NOT ? 3 : 2));
    if (end > 0) return byte !== SLASH && inClass(glob, g + 1, end, byte) ? end + 1 : -1;
  }
  if (part === BACKSLASH && g + 1 < glob.length) return glob[g + 1] === byte ? g + 2 : -1;
  return part === byte ? g + 1 : -1;
}

function inClass(glob: Buffer, from: number, end: number, byte: number): boolean {
  const not = glob[from] === NOT;
  let found = false;
  for (let at = not ? from + 1 : from; at < end; at++) {
    const first = glob[at]!;
    if (glob[at + 1] === DASH && at + 2 < end) {
      if (first <= byte && byte <= glob[at + 2]!) found = true;
      at += 2;
    } else if (first === byte) found = true;
  }
  return found !== not;
}
