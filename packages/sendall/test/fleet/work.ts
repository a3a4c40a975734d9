/** Counts a function's work instead of timing it: elements visited or stored, and bytes copied. */

type Method = (this: unknown, ...args: never[]) => unknown;
type Owner = Record<string, Method>;

const iteratorOf = (iterable: Iterable<unknown>): object =>
  Object.getPrototypeOf(iterable[Symbol.iterator]()) as object;

/** The counted methods, by owner and name, and the work of one call. */
const counted: [owner: object, name: string, weight: (result: unknown) => number][] = [
  [iteratorOf([]), 'next', () => 1],
  [iteratorOf(new Set()), 'next', () => 1],
  [iteratorOf(new Map()), 'next', () => 1],
  [Array.prototype, 'push', () => 1],
  [Array.prototype, 'concat', (result) => (result as unknown[]).length],
  [Array.prototype, 'map', (result) => (result as unknown[]).length],
  [Array.prototype, 'flatMap', (result) => (result as unknown[]).length],
  [Array.prototype, 'join', (result) => (result as string).length],
  [Set.prototype, 'add', () => 1],
  [Set.prototype, 'has', () => 1],
  [Map.prototype, 'get', () => 1],
  [Buffer, 'concat', (result) => (result as Buffer).length],
];

/** The work of `act`, in steps. */
export function workOf(act: () => void): number {
  let steps = 0;
  const originals = counted.map(([owner, name, weight]) => {
    const holder = owner as Owner;
    const original = holder[name]!;
    holder[name] = function (...args) {
      const result = original.apply(this, args);
      steps += weight(result);
      return result;
    };
    return () => (holder[name] = original);
  });
  try {
    act();
  } finally {
    for (const restore of originals) restore();
  }
  return steps;
}
