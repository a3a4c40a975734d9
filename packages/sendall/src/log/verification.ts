/**
 * Checks a whole log: each line against its hash, the hashes against each other and against heads that were kept. What is
 * wrong is named by the index of the record where it begins.
 *
 * A kept head is what cannot be altered afterwards. If the hashes lead to it, they are the true ones up to its size, and
 * the lines are compared with them one by one. If they do not, either they are damaged and the lines lead to it, or the
 * log is another one: a fork.
 */
import { SendallError } from '../errors.js';
import { HASH_SIZE, leafHashWithin, type Hash } from './hashes.js';
import { firstOf, HASHES, LONGEST_SEGMENT } from './layout.js';
import type { Head } from './proofs.js';
import type { LogSource } from './source.js';
import { placeOf, sizeOfStored } from './stored-hashes.js';
import { Tree } from './tree.js';

/** What is wrong with a log. */
export type ProblemKind =
  /** A line is not what it was. */
  | 'flip'
  | 'deletion'
  | 'insertion'
  | 'reorder'
  /** Records behind this one are gone, which a kept head has. */
  | 'truncation'
  /** The log has other records than the kept head. */
  | 'fork'
  /** The lines of a segment are gone, and no note says that they were dropped. */
  | 'missing-segment'
  /** A hash is not what it was; the lines are sound. */
  | 'hash'
  /** The checkpoint is not signed by the log's key, or the key not certified by the identity. */
  | 'signature';

/** Something that is wrong with a log. */
export interface Problem {
  /** The record where it begins. */
  readonly index: number;
  readonly kind: ProblemKind;
}

/** A head to check against. `pin`: whose it is, or where it comes from. */
export interface KnownHead extends Head {
  readonly pin: string;
}

export interface Verdict {
  readonly ok: boolean;
  /** Records, and the root over them as their hashes say. */
  readonly size: number;
  readonly root: Hash;
  /** Lines that were compared with their hashes; the rest was dropped for its age. */
  readonly checked: number;
  readonly against: readonly { readonly pin: string; readonly size: number; readonly consistent: boolean }[];
  /** In the order of their indexes; at most `MOST_PROBLEMS`. */
  readonly problems: readonly Problem[];
}

/** Problems that are named. */
export const MOST_PROBLEMS = 1000;
/** Bytes that are read at once. */
const PART = 8 * 1024 * 1024;
/** Bytes of hashes: those of 33 million records. They are held in memory. */
const MOST_HASHES = 2 * 1024 ** 3;
/** Lines of a segment: those of ours have more than 64 bytes each. */
const MOST_LINES = LONGEST_SEGMENT / 64;
/** Lines that are read beyond those that belong to a segment. */
const MORE_LINES = 1000;
const NEWLINE = 0x0a;
/** The record that says how many records have no line any more, behind its time. */
const PRUNED = Buffer.from('"kind":"note","what":"pruned","size":');

interface Segment {
  readonly first: number;
  readonly name: string;
  readonly size: number;
}

/**
 * Checks the log that `source` holds against heads that were kept. `live`: it may grow meanwhile.
 * @throws SendallError LOG when it is too large to be checked.
 */
export async function verifyLog(
  source: LogSource,
  heads: readonly KnownHead[] = [],
  { live = false }: { live?: boolean } = {},
): Promise<Verdict> {
  const files = await source.files();
  const bytes = files.find(({ name }) => name === HASHES)?.size ?? 0;
  if (bytes > MOST_HASHES)
    throw new SendallError('LOG', `the log has ${bytes} bytes of hashes, and at most ${MOST_HASHES} are checked`);
  const stored = await readAll(source, HASHES, bytes);
  const size = sizeOfStored(Math.floor(stored.length / HASH_SIZE));
  const problems: Problem[] = [];
  const sizes = new Set(heads.map((head) => head.size));
  const hashes = readHashes(stored, size, sizes);
  const segments: Segment[] = files.flatMap(({ name, size: bytes }) => {
    const first = firstOf(name);
    return first === undefined ? [] : [{ first, name, size: bytes }];
  });
  segments.sort((a, b) => a.first - b.first);
  const lines = await readLines(source, segments, hashes.leaf, { live, size, sizes });
  /** Up to here the lines lead to a kept head, and the hashes do not. */
  let soundLines = 0;
  const against = heads.map((head) => {
    const { pin } = head;
    let consistent = hashes.roots.get(head.size) === head.root;
    if (!consistent && head.size > size) problems.push({ index: size, kind: 'truncation' });
    else if (!consistent && lines.roots.get(head.size) === head.root) {
      consistent = true;
      soundLines = Math.max(soundLines, head.size);
    } else if (!consistent) problems.push({ index: head.size, kind: 'fork' });
    return { pin, size: head.size, consistent };
  });
  for (const { index, kind } of lines.problems) problems.push({ index, kind: index < soundLines ? 'hash' : kind });
  // A leaf that is not its line's is named already, and makes a subtree above it wrong too.
  if (hashes.wrong !== undefined && !problems.some(({ kind }) => kind === 'hash'))
    problems.push({ index: hashes.wrong, kind: 'hash' });
  problems.sort((a, b) => a.index - b.index);
  const ok = problems.length === 0;
  return { ok, size, root: hashes.root, checked: lines.checked, against, problems: problems.slice(0, MOST_PROBLEMS) };
}

async function readAll(source: LogSource, name: string, size: number): Promise<Buffer> {
  const all = Buffer.allocUnsafe(size);
  let have = 0;
  while (have < size) {
    const wanted = Math.min(PART, size - have);
    const part = await source.read(name, have, wanted);
    all.set(part.subarray(0, wanted), have);
    have += Math.min(part.length, wanted);
    // The file ends here by now.
    if (part.length < wanted) break;
  }
  return all.subarray(0, have);
}

/** The leaves among stored hashes, the roots at some sizes, and the first record whose subtrees are not what they should be. */
function readHashes(stored: Buffer, size: number, sizes: ReadonlySet<number>) {
  const roots = new Map<number, Hash>();
  const tree = new Tree();
  let wrong: number | undefined;
  let at = 0;
  if (sizes.has(0)) roots.set(0, tree.root);
  for (let n = 0; n < size; n++) {
    tree.add(hashAt(stored, at), (hash) => {
      if (wrong === undefined && hashAt(stored, at) !== hash) wrong = n;
      at += HASH_SIZE;
    });
    if (sizes.has(n + 1)) roots.set(n + 1, tree.root);
  }
  // As text they would take several times the memory.
  const leaf = (n: number): Hash => hashAt(stored, placeOf(0, n) * HASH_SIZE);
  return { leaf, roots, root: tree.root, wrong };
}

const hashAt = (stored: Buffer, at: number): Hash => stored.toString('latin1', at, at + HASH_SIZE);

/** Compares the lines of all segments with the leaves. */
async function readLines(
  source: LogSource,
  segments: readonly Segment[],
  leaf: (n: number) => Hash,
  { live, size, sizes }: { live: boolean; size: number; sizes: ReadonlySet<number> },
) {
  const problems: Problem[] = [];
  /** Of the lines as they stand, up to the first segment that is not there; and its roots at these sizes. */
  const own = new Tree();
  const roots = new Map<number, Hash>();
  let checked = 0;
  let pruned = 0;
  let next = segments[0]?.first ?? size;
  const start = next;
  let isWhole = start === 0;
  for (const [i, segment] of segments.entries()) {
    if (segment.first >= size && live) break;
    if (segment.first > next) {
      problems.push({ index: next, kind: 'missing-segment' });
      isWhole = false;
    }
    const end = Math.min(segments[i + 1]?.first ?? size, size);
    const isLast = i === segments.length - 1;
    const belong = Math.max(0, end - segment.first);
    const expected = Math.min(belong, MOST_LINES);
    const found: Hash[] = [];
    // What is longer than any of ours has lines that do not belong there.
    const text = await readAll(source, segment.name, Math.min(segment.size, LONGEST_SEGMENT));
    const bytes = Buffer.allocUnsafe(text.length + 1);
    text.copy(bytes, 1);
    if (start > 0) pruned = Math.max(pruned, prunedIn(text));
    const length = text.length + 1;
    for (let from = 1; from < length && found.length < expected + MORE_LINES;) {
      const stop = bytes.indexOf(NEWLINE, from);
      const to = stop < 0 || stop > length ? length : stop;
      found.push(leafHashWithin(bytes, from, to));
      from = to + 1;
    }
    const isGrowing = live && isLast && found.length > expected;
    const lines = isGrowing ? found.slice(0, expected) : found;
    if (isWhole)
      for (const line of lines) {
        own.add(line);
        if (sizes.has(own.size)) roots.set(own.size, own.root);
      }
    checked += Math.min(lines.length, expected);
    const leaves = Array.from({ length: expected }, (_, n) => leaf(segment.first + n));
    compare(lines, leaves, segment.first, isLast, problems);
    if (belong > expected) problems.push({ index: segment.first + expected, kind: 'missing-segment' });
    next = end;
  }
  if (next < size) problems.push({ index: next, kind: segments.length ? 'truncation' : 'missing-segment' });
  if (start > pruned) problems.push({ index: pruned, kind: 'missing-segment' });
  return { problems, checked, roots };
}

/** How many records have no line any more, as the lines of a segment say. */
function prunedIn(text: Buffer): number {
  let pruned = 0;
  for (let at = text.indexOf(PRUNED); at >= 0; at = text.indexOf(PRUNED, at + 1))
    pruned = Math.max(pruned, parseInt(text.toString('latin1', at + PRUNED.length, at + PRUNED.length + 16), 10) || 0);
  return pruned;
}

/** Names the differences of the lines of a segment from what its leaves say. */
function compare(
  lines: readonly Hash[],
  leaves: readonly Hash[],
  first: number,
  isLast: boolean,
  problems: Problem[],
): void {
  let same = 0;
  while (same < lines.length && same < leaves.length && lines[same] === leaves[same]) same++;
  if (same === lines.length && same === leaves.length) return;
  const inLines = new Map(lines.map((hash, at) => [hash, at]));
  const inLeaves = new Map(leaves.map((hash, at) => [hash, at]));
  /** Leaves whose lines stand elsewhere. */
  const moved = new Set<number>();
  let [line, leaf] = [same, same];
  const note = (kind: ProblemKind): void => {
    if (problems.length < MOST_PROBLEMS) problems.push({ index: first + Math.min(leaf, leaves.length), kind });
  };
  while (line < lines.length && leaf < leaves.length) {
    if (moved.has(leaf)) {
      leaf++;
      continue;
    }
    if (lines[line] === leaves[leaf]) {
      line++;
      leaf++;
      continue;
    }
    const lineOfLeaf = inLines.get(leaves[leaf]!);
    const leafOfLine = inLeaves.get(lines[line]!);
    const comesLater = lineOfLeaf !== undefined && lineOfLeaf > line;
    const isCopy = inLines.get(lines[line]!)! > line;
    const belongsLater = leafOfLine !== undefined && leafOfLine > leaf && !isCopy;
    if (comesLater && belongsLater) {
      note('reorder');
      moved.add(leafOfLine);
      line++;
    } else if (comesLater) {
      note('insertion');
      line++;
    } else if (belongsLater) {
      note('deletion');
      leaf++;
    } else {
      note('flip');
      line++;
      leaf++;
    }
  }
  while (moved.has(leaf)) leaf++;
  if (leaf < leaves.length) note(isLast ? 'truncation' : 'deletion');
  if (line < lines.length) note('insertion');
}
