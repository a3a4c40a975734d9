/** Words that name files on hosts, `TARGETS:PATH`, and files here. */
import { homedir } from 'node:os';
import { UsageError } from '../../errors.js';
import { textOf } from './command.js';

const COLON = 0x3a;
const SLASH = 0x2f;
const TILDE = 0x7e;

/** Addresses have colons of their own: tls://HOST:PORT, nats:ID, unix:/path. */
const ADDRESS = /^(?:(?:tls|udp):\/\/(?:\[[^\]/]*\]|[^:/[\]]+):\d+|nats:[^:/]+|unix:[^:]+)(?=:)/;

/** Files on hosts. */
export interface Place {
  readonly targets: string;
  readonly path: Uint8Array;
}

/** What a word names: undefined for a file here. As for scp, a colon before any slash makes a host. */
export function placeOf(word: Uint8Array): Place | undefined {
  const address = ADDRESS.exec(Buffer.from(word).toString('latin1'))?.[0];
  const colon = address?.length ?? word.indexOf(COLON);
  const slash = word.indexOf(SLASH);
  if (colon < 0 || (address === undefined && slash >= 0 && slash < colon)) return undefined;
  const targets = textOf(word.subarray(0, colon));
  return { targets, path: farPath(word.subarray(colon + 1), targets === 'local') };
}

/**
 * A file here.
 * @throws UsageError for a word that names one on a host.
 */
export function localPath(word: Uint8Array, what: string): Uint8Array {
  if (word.length === 0) throw new UsageError(`${what} is an empty word`);
  if (placeOf(word)) {
    const text = textOf(word);
    throw new UsageError(`"${text}" names files on a host, and ${what} is a file here: write ./${text} for one`);
  }
  return word;
}

/** Relative paths begin at the user's home or, on this machine, at our folder. */
function farPath(path: Uint8Array, isHere: boolean): Uint8Array {
  if (path.length === 0) return Buffer.from('./');
  if (path[0] !== TILDE || (path.length > 1 && path[1] !== SLASH)) return path;
  const below = path.subarray(2);
  if (isHere) return Buffer.concat([Buffer.from(`${homedir()}/`), below]);
  return below.length ? below : Buffer.from('./');
}
