/** Checks proofs that a log gives. Source: RFC 9162, sections 2.1.3.2 and 2.1.4.2. */
import { EMPTY, nodeHash, type Hash } from './hashes.js';

/** The first `size` records of a log, named by their root. */
export interface Head {
  readonly size: number;
  readonly root: Hash;
}

const half = (n: number): number => Math.floor(n / 2);
const isOdd = (n: number): boolean => n % 2 === 1;

/** Whether `proof` shows that the record `index`, whose hash is `leaf`, is among those of `head`. */
export function verifyInclusion(index: number, leaf: Hash, head: Head, proof: readonly Hash[]): boolean {
  if (!(index >= 0 && index < head.size)) return false;
  let [node, last] = [index, head.size - 1];
  let root = leaf;
  for (const hash of proof) {
    if (last === 0) return false;
    if (isOdd(node) || node === last) {
      root = nodeHash(hash, root);
      while (!isOdd(node) && node !== 0) [node, last] = [half(node), half(last)];
    } else root = nodeHash(root, hash);
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && root === head.root;
}

/** Whether `proof` shows that the records of `after` begin with those of `before`. */
export function verifyConsistency(before: Head, after: Head, proof: readonly Hash[]): boolean {
  if (before.size > after.size) return false;
  if (before.size === after.size) return proof.length === 0 && before.root === after.root;
  if (before.size === 0) return proof.length === 0 && before.root === EMPTY;
  // A complete subtree is not in the proof: its root is known.
  const path = Number.isInteger(Math.log2(before.size)) ? [before.root, ...proof] : proof;
  let [node, last] = [before.size - 1, after.size - 1];
  while (isOdd(node)) [node, last] = [half(node), half(last)];
  const [first, ...rest] = path;
  if (first === undefined) return false;
  let [old, root] = [first, first];
  for (const hash of rest) {
    if (last === 0) return false;
    if (isOdd(node) || node === last) {
      old = nodeHash(hash, old);
      root = nodeHash(hash, root);
      while (!isOdd(node) && node !== 0) [node, last] = [half(node), half(last)];
    } else root = nodeHash(root, hash);
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && old === before.root && root === after.root;
}
