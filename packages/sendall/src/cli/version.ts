/** The version of this program, from its package. */
import { readFileSync } from 'node:fs';

/** This program's version. */
export function ownVersion(): string {
  // This file's folder and that of the bundle it is part of lie equally deep in the package.
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
