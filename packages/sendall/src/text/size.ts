/** Sizes as people write them. */
const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** Bytes of "64k", "10M", "1GiB" or a plain number; undefined for anything else. */
export function readSize(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,16}(?:\.\d{1,16})?)([kmgt]?)(?:i?b)?$/i.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const bytes = Math.round(Number(digits) * UNITS[unit!.toLowerCase()]!);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
