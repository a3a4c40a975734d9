/** Variables that go along: those that SetEnv names with their values, and those of ours that SendEnv names. */
import { readFileSync } from 'node:fs';
import { UsageError } from '../../errors.js';

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** The only pattern that SendEnv may have: with another one, what is sent could not be foreseen. */
const LOCALE = 'LC_*';

/**
 * The NAME=VALUE words of a SetEnv; a value with blanks stands in double quotes.
 * @throws UsageError
 */
export function envPairs(text: string): Uint8Array[] {
  const words = [...text.matchAll(/(?:"[^"]*"|[^\s"])+/g)].map(([word]) => word);
  return words.map((word) => {
    const pair = word.replaceAll('"', '');
    const name = pair.split('=', 1)[0]!;
    if (!pair.includes('=') || !NAME.test(name))
      throw new UsageError(`-o SetEnv: "${word.slice(0, 80)}" is not NAME=VALUE`);
    return Buffer.from(pair);
  });
}

/**
 * The names in a SendEnv.
 * @throws UsageError for a pattern other than LC_*.
 */
export function namesToSend(text: string): string[] {
  const names = text.replaceAll('"', '').split(/\s+/).filter(Boolean);
  for (const name of names)
    if (!NAME.test(name) && name !== LOCALE)
      throw new UsageError(`-o SendEnv: "${name.slice(0, 80)}" is refused: name each variable, or say ${LOCALE}`);
  return names;
}

/** Our variables of these names, as bytes. */
export function variablesNamed(names: readonly string[]): Uint8Array[] {
  if (!names.length) return [];
  const wanted = new Set(names);
  return ownVariables().filter((pair) => {
    const name = Buffer.from(pair.subarray(0, pair.indexOf(0x3d))).toString('latin1');
    return wanted.has(name) || (wanted.has(LOCALE) && name.startsWith('LC_'));
  });
}

/** Our environment as it was given to us: Node replaces what is not UTF-8. */
function ownVariables(): Uint8Array[] {
  let raw: Buffer;
  try {
    raw = readFileSync('/proc/self/environ');
  } catch {
    // Not Linux.
    return Object.entries(process.env).map(([name, value]) => Buffer.from(`${name}=${value}`));
  }
  const pairs: Uint8Array[] = [];
  for (let start = 0; start < raw.length;) {
    const end = raw.indexOf(0, start);
    const pair = raw.subarray(start, end < 0 ? raw.length : end);
    if (pair.indexOf(0x3d) > 0) pairs.push(pair);
    start = end < 0 ? raw.length : end + 1;
  }
  return pairs;
}
