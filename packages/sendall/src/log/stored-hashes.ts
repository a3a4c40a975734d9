/**
 * Where the hashes of complete subtrees stand in a file, each written as soon as its last record is there, and what
 * follows from them: the root at any size, proofs of inclusion and of consistency. The order is that of Go's
 * golang.org/x/mod/sumdb/tlog (StoredHashIndex); the proofs are those of RFC 9162, sections 2.1.3.1 and 2.1.4.1.
 *
 * Each of them reads a number of hashes that grows with the logarithm of the size.
 */
import { EMPTY, nodeHash, type Hash } from './hashes.js';

/** Reads the hash at a place in that order. */
export type ReadHash = (place: number) => Hash;

/** The place of the subtree `n` (counted from 0) of 2^level records. */
export function placeOf(level: number, n: number): number {
  // It stands behind the last leaf below it, and the roots of smaller subtrees that end there.
  let leaf = n;
  for (let i = 0; i < level; i++) leaf = 2 * leaf + 1;
  let place = 0;
  for (let rest = leaf; rest > 0; rest = Math.floor(rest / 2)) place += rest;
  return place + level;
}

/** How many hashes a tree of `size` records has stored. */
export function storedCount(size: number): number {
  let count = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) count += rest;
  return count;
}

/** The most records whose hashes are among the first `count`; a hash more than those has is the beginning of the next. */
export function sizeOfStored(count: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (storedCount(middle) <= count) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The largest power of two below `n`, which is above 1. */
function halfOf(n: number): number {
  let half = 1;
  while (half * 2 < n) half *= 2;
  return half;
}

/** The root over the records from `from` to `to`; `from` is a multiple of the power of two at or above their number. */
function rootOf(from: number, to: number, read: ReadHash): Hash {
  const count = to - from;
  const level = Math.log2(count);
  if (Number.isInteger(level)) return read(placeOf(level, from / count));
  const half = halfOf(count);
  return nodeHash(rootOf(from, from + half, read), rootOf(from + half, to, read));
}

/** The root of the first `size` records. */
export const rootAt = (size: number, read: ReadHash): Hash => (size === 0 ? EMPTY : rootOf(0, size, read));

/**
 * The proof that the record `index` is among the first `size`, for `verifyInclusion`.
 * @throws RangeError if it is not.
 */
export function inclusionProof(index: number, size: number, read: ReadHash): Hash[] {
  if (!(index >= 0 && index < size)) throw new RangeError(`record ${index} is not among the first ${size}`);
  const path = (from: number, to: number): Hash[] => {
    if (to - from === 1) return [];
    const middle = from + halfOf(to - from);
    return index < middle
      ? [...path(from, middle), rootOf(middle, to, read)]
      : [...path(middle, to), rootOf(from, middle, read)];
  };
  return path(0, size);
}

/**
 * The proof that the first `size` records begin with the first `before`, for `verifyConsistency`.
 * @throws RangeError if `before` is above `size`.
 */
export function consistencyProof(before: number, size: number, read: ReadHash): Hash[] {
  if (!(before >= 0 && before <= size)) throw new RangeError(`${before} records are more than ${size}`);
  const proof = (from: number, to: number, isWhole: boolean): Hash[] => {
    if (before === to) return isWhole ? [] : [rootOf(from, to, read)];
    const middle = from + halfOf(to - from);
    return before <= middle
      ? [...proof(from, middle, isWhole), rootOf(middle, to, read)]
      : [...proof(middle, to, false), rootOf(from, middle, read)];
  };
  return before === 0 ? [] : proof(0, size, true);
}
