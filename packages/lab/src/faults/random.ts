/** A seeded source of numbers in [0, 1): the same seed and name give the same numbers, on every machine. */
export type Random = () => number;

/** An independent source for each name, so that one fault's draws never shift another's. */
export function seededRandom(seed: number, name: string): Random {
  // FNV-1a over the name, then Mulberry32.
  let state = (seed ^ 0x811c9dc5) >>> 0;
  for (const character of name) state = Math.imul(state ^ character.charCodeAt(0), 0x01000193) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
