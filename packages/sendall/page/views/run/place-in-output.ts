/** A place in the output as the reader writes it: a byte, a share, or a time since the run's start. */

export type Wanted = { readonly byte: number } | { readonly share: number } | { readonly timeMs: number };

const SIZES: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** Undefined: it is none. */
export function readWanted(text: string): Wanted | undefined {
  const word = text.trim().toLowerCase();
  const share = /^(\d+(?:\.\d+)?)%$/.exec(word);
  if (share) return { share: Math.min(1, Number(share[1]) / 100) };
  const time = /^\+(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)s?$/.exec(word);
  if (time) return { timeMs: (Number(time[1] ?? 0) * 3600 + Number(time[2] ?? 0) * 60 + Number(time[3])) * 1000 };
  const byte = /^(\d+(?:\.\d+)?)([kmg]?)(?:ib|b)?$/.exec(word);
  return byte ? { byte: Math.floor(Number(byte[1]) * SIZES[byte[2]!]!) } : undefined;
}
