/** The tree, its stored hashes and its proofs, against the definitions of RFC 9162 written down once more. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createHash } from 'node:crypto';
import { EMPTY, hashBytes, leafHash, type Hash } from '../../dist/log/hashes.js';
import { verifyConsistency, verifyInclusion } from '../../dist/log/proofs.js';
import {
  consistencyProof,
  inclusionProof,
  placeOf,
  rootAt,
  sizeOfStored,
  storedCount,
} from '../../dist/log/stored-hashes.js';
import { Tree } from '../../dist/log/tree.js';

const MOST = 300;
const sha256 = (...parts: Uint8Array[]): Buffer => {
  const sum = createHash('sha256');
  for (const part of parts) sum.update(part);
  return sum.digest();
};
const lines = Array.from({ length: MOST }, (_, i) => Buffer.from(`record ${i}`));

/** MTH of section 2.1.1. */
function definition(of: readonly Buffer[]): Buffer {
  if (of.length === 0) return sha256();
  if (of.length === 1) return sha256(Buffer.from([0]), of[0]!);
  let k = 1;
  while (k * 2 < of.length) k *= 2;
  return sha256(Buffer.from([1]), definition(of.slice(0, k)), definition(of.slice(k)));
}

const stored: Hash[] = [];
const roots: Hash[] = [EMPTY];
const tree = new Tree();
for (const line of lines) {
  tree.add(leafHash(line), (hash) => stored.push(hash));
  roots.push(tree.root);
}
const read = (place: number): Hash => stored[place]!;
const sizes = fc.integer({ min: 1, max: MOST });

describe('the tree', () => {
  test('has the root that RFC 9162 defines, at every size', () => {
    for (let size = 0; size <= MOST; size++)
      expect(hashBytes(roots[size]!).equals(definition(lines.slice(0, size)))).toBe(true);
  });

  test('goes on from its complete subtrees alone', () => {
    fc.assert(
      fc.property(sizes, sizes, (a, b) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const later = Tree.of(from, (level, n) => read(placeOf(level, n)));
        for (const line of lines.slice(from, to)) later.add(leafHash(line));
        expect(later.size).toBe(to);
        expect(later.root).toBe(roots[to]);
      }),
    );
  });

  test('stores its hashes where the root at any size is found again', () => {
    for (let size = 0; size <= MOST; size++) {
      expect(rootAt(size, read)).toBe(roots[size]);
      expect(sizeOfStored(storedCount(size))).toBe(size);
      if (size > 0) expect(sizeOfStored(storedCount(size) - 1)).toBe(size - 1);
    }
    expect(storedCount(MOST)).toBe(stored.length);
    expect(placeOf(0, MOST - 1)).toBeLessThan(stored.length);
  });

  test('reads few hashes for a proof: their number grows with the logarithm of the size', () => {
    let reads = 0;
    const counted = (place: number): Hash => {
      reads++;
      return read(place);
    };
    consistencyProof(101, MOST, counted);
    inclusionProof(17, MOST, counted);
    expect(reads).toBeLessThan(60);
  });
});

describe('a proof of inclusion', () => {
  test('holds for its record, and for no other record, place, size or root', () => {
    fc.assert(
      fc.property(sizes, fc.nat(MOST), fc.nat(MOST), (size, at, other) => {
        const index = at % size;
        const head = { size, root: roots[size]! };
        const leaf = leafHash(lines[index]!);
        const proof = inclusionProof(index, size, read);
        expect(verifyInclusion(index, leaf, head, proof)).toBe(true);
        expect(verifyInclusion(index, leafHash(Buffer.from('another')), head, proof)).toBe(false);
        if (other % size !== index) expect(verifyInclusion(other % size, leaf, head, proof)).toBe(false);
        expect(verifyInclusion(index, leaf, { size, root: leafHash(Buffer.from('x')) }, proof)).toBe(false);
        expect(verifyInclusion(index, leaf, head, [...proof, leaf])).toBe(false);
        if (proof.length) expect(verifyInclusion(index, leaf, head, proof.slice(1))).toBe(false);
        expect(verifyInclusion(size, leaf, head, proof)).toBe(false);
      }),
    );
    expect(() => inclusionProof(3, 3, read)).toThrow('record 3 is not among the first 3');
  });
});

describe('a proof of consistency', () => {
  test('holds for the two heads, and for no other head, nor with another hash in it', () => {
    fc.assert(
      fc.property(sizes, sizes, fc.nat(), (a, b, which) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const before = { size: from, root: roots[from]! };
        const after = { size: to, root: roots[to]! };
        const proof = consistencyProof(from, to, read);
        expect(verifyConsistency(before, after, proof)).toBe(true);
        const forged = leafHash(Buffer.from('x'));
        expect(verifyConsistency({ ...before, root: forged }, after, proof)).toBe(false);
        expect(verifyConsistency(before, { ...after, root: forged }, proof)).toBe(false);
        expect(verifyConsistency(before, after, [...proof, forged])).toBe(false);
        if (!proof.length) return;
        expect(
          verifyConsistency(
            before,
            after,
            proof.map((hash, i) => (i === which % proof.length ? forged : hash)),
          ),
        ).toBe(false);
        expect(verifyConsistency(before, after, proof.slice(0, -1))).toBe(false);
      }),
    );
  });

  test('between no record and some has no hashes, and a log never shrinks', () => {
    expect(consistencyProof(0, 5, read)).toEqual([]);
    expect(verifyConsistency({ size: 0, root: EMPTY }, { size: 5, root: roots[5]! }, [])).toBe(true);
    expect(verifyConsistency({ size: 0, root: roots[1]! }, { size: 5, root: roots[5]! }, [])).toBe(false);
    expect(verifyConsistency({ size: 5, root: roots[5]! }, { size: 4, root: roots[4]! }, [])).toBe(false);
    expect(() => consistencyProof(6, 5, read)).toThrow('6 records are more than 5');
  });
});
