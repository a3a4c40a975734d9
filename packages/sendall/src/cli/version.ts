/** The version of this program, from its package. */
import { readFileSync } from 'node:fs';

/** This program's version. */
export function ownVersion(): string {
  // The bundle lies as deep in the package as this file does.
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
