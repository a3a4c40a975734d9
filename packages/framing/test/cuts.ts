/** Ways to cut the same bytes into chunks. */
export function cutEvery(bytes: Buffer, size: number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
  return chunks;
}

/** Cuts behind each of the given positions. */
export function cutAt(bytes: Buffer, positions: Iterable<number>): Buffer[] {
  const sorted = [...new Set(positions)].filter((at) => at > 0 && at < bytes.length).sort((a, b) => a - b);
  const chunks: Buffer[] = [];
  let from = 0;
  for (const at of [...sorted, bytes.length]) {
    chunks.push(bytes.subarray(from, at));
    from = at;
  }
  return chunks;
}

/** A small generator of numbers in [0, 1), the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export function cutRandomly(bytes: Buffer, next: () => number): Buffer[] {
  const chunks: Buffer[] = [];
  const most = 1 + Math.floor(next() * bytes.length);
  for (let at = 0; at < bytes.length;) {
    const size = Math.floor(next() * (most + 1));
    chunks.push(bytes.subarray(at, at + size));
    at += size;
    if (size === 0 && next() < 0.5) at += 0;
  }
  return chunks;
}
