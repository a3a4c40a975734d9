// East Asian wide and fullwidth ranges, as far as the lab's own words and common text need them (Unicode's UAX #11).
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]/u;

/** How many columns of a terminal a text takes. */
export function width(value: string): number {
  let columns = 0;
  for (const character of value) columns += wide.test(character) ? 2 : 1;
  return columns;
}

export function padEnd(value: string, columns: number): string {
  return value + ' '.repeat(Math.max(0, columns - width(value)));
}

export function padStart(value: string, columns: number): string {
  return ' '.repeat(Math.max(0, columns - width(value))) + value;
}
