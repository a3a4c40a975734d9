/**
 * A Merkle tree that grows: it holds the roots of its complete subtrees only (the compact range), so a record is added,
 * and the root of all records known, without a look at earlier ones.
 */
import { EMPTY, nodeHash, type Hash } from './hashes.js';

export class Tree {
  /** By level: the root of the complete subtree of 2^level records that the size has a bit for. */
  readonly #subtrees: (Hash | undefined)[] = [];
  #size = 0;

  /** The tree of `size` records; `subtree` gives the root of the complete subtree `n` at a level. */
  static of(size: number, subtree: (level: number, n: number) => Hash): Tree {
    const tree = new Tree();
    tree.#size = size;
    for (let level = 0, n = size; n > 0; level++, n = Math.floor(n / 2))
      tree.#subtrees[level] = n % 2 === 1 ? subtree(level, n - 1) : undefined;
    return tree;
  }

  /** Records in it. */
  get size(): number {
    return this.#size;
  }

  /** Adds a record. Calls `completed` with each hash that is final now: the leaf's, then those of complete subtrees. */
  add(leaf: Hash, completed?: (hash: Hash) => void): void {
    let hash = leaf;
    completed?.(hash);
    let level = 0;
    for (let left = this.#subtrees[0]; left !== undefined; left = this.#subtrees[++level]) {
      hash = nodeHash(left, hash);
      completed?.(hash);
      this.#subtrees[level] = undefined;
    }
    this.#subtrees[level] = hash;
    this.#size++;
  }

  /** The root of all records. */
  get root(): Hash {
    let root: Hash | undefined;
    for (const subtree of this.#subtrees)
      if (subtree !== undefined) root = root === undefined ? subtree : nodeHash(subtree, root);
    return root ?? EMPTY;
  }
}
