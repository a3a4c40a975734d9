/** This program's package: its folder and its version. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The folder of this program's package, with a slash at its end. */
export function ownFolder(): string {
  // The bundle lies as deep in the package as this file does.
  return fileURLToPath(new URL('../../', import.meta.url));
}

/** This program's version. */
export function ownVersion(): string {
  const text = readFileSync(`${ownFolder()}package.json`, 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
