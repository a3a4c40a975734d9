/** Colours for host names on a terminal, so that a reader finds the lines of one host: a name always has the same. */

/** Cyan, yellow, green, magenta and blue, each also bright. Red is left to errors. */
const COLOURS = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94];

export function inItsColour(host: string, text: string): string {
  let hash = 0;
  for (const char of host) hash = (Math.imul(hash, 31) + char.codePointAt(0)!) >>> 0;
  return `\u001b[${COLOURS[hash % COLOURS.length]}m${text}\u001b[0m`;
}
