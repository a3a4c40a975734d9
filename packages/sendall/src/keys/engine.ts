/** How this user reaches the broker: engine.json holds its address and the names of files with credentials. */
import { resolve } from 'node:path';
import { rmSync } from 'node:fs';
import { UsageError } from '../errors.js';
import type { Home } from '../home.js';
import { readPrivateFile, updatePrivateFile } from '../files/private-file.js';
import { stampOf } from '../files/stamp.js';
import { formatNatsUrl, parseNatsUrl } from '../text/nats-address.js';

/** A broker's address, and the files that let us in. */
export interface Engine extends EngineFiles {
  /** nats://HOST:PORT,…[/FLEET] */
  readonly url: string;
}

/** Files for a connection to the broker. Each file of secrets must be private to this user (mode 0600). */
export interface EngineFiles {
  /** A .creds file (a JWT and its seed), or a file with one line USER:PASSWORD. */
  readonly creds?: string | undefined;
  /** A file with the seed of an NKey. */
  readonly nkey?: string | undefined;
  /** Certificates of the authority of the broker's TLS certificate, PEM. */
  readonly tlsCa?: string | undefined;
  /** A certificate to show to the broker, PEM. */
  readonly tlsCert?: string | undefined;
  /** The certificate's private key, PEM. */
  readonly tlsKey?: string | undefined;
}

const FILES = ['creds', 'nkey', 'tlsCa', 'tlsCert', 'tlsKey'] as const;

/**
 * Checks and completes: the address in its full form, absolute paths.
 * @throws UsageError when the address is wrong, or files are given that do not belong together.
 */
export function completeEngine(engine: Engine): Engine {
  const url = formatNatsUrl(parseNatsUrl(engine.url));
  if (engine.creds !== undefined && engine.nkey !== undefined)
    throw new UsageError('creds and nkey are two ways to prove one thing: give one of them');
  if ((engine.tlsCert === undefined) !== (engine.tlsKey === undefined))
    throw new UsageError('a certificate for the broker needs its key, and the key its certificate: give both');
  const files = FILES.flatMap((name) => (engine[name] === undefined ? [] : [[name, resolve(engine[name])] as const]));
  return { url, ...Object.fromEntries(files) };
}

/** By file, with the file's stamp. */
const read = new Map<string, { readonly stamp: string | undefined; readonly engine: Engine | undefined }>();

/**
 * The broker this user's commands use; undefined without one.
 * @throws UsageError when the file is not valid.
 */
export function readEngine({ engineFile }: Home): Engine | undefined {
  const stamp = stampOf(engineFile);
  const known = read.get(engineFile);
  if (known && known.stamp === stamp) return known.engine;
  const text = readPrivateFile(engineFile);
  const engine = text === undefined ? undefined : parse(engineFile, text);
  read.set(engineFile, { stamp, engine });
  return engine;
}

function parse(path: string, text: string): Engine {
  let document: Record<string, unknown>;
  try {
    document = JSON.parse(text) as Record<string, unknown>;
    if (typeof document.url !== 'string') throw new Error('it has no url');
    for (const name of FILES)
      if (document[name] !== undefined && typeof document[name] !== 'string') throw new Error(`its ${name} is no path`);
    return completeEngine(document as unknown as Engine);
  } catch (cause) {
    throw new UsageError(
      `${path} is not valid (${(cause as Error).message}): sendall engine nats://… writes a new one, sendall engine --off removes it`,
      { cause },
    );
  }
}

/** Remembers a broker, complete as `completeEngine` makes it. */
export async function writeEngine({ engineFile }: Home, engine: Engine): Promise<void> {
  await updatePrivateFile(engineFile, () => `${JSON.stringify(engine, null, 2)}\n`);
  read.delete(engineFile);
}

/** Forgets the broker. False when there was none. */
export function removeEngine({ engineFile }: Home): boolean {
  const known = stampOf(engineFile) !== undefined;
  rmSync(engineFile, { force: true });
  read.delete(engineFile);
  return known;
}

/** What proves to the broker who we are. */
export type BrokerProof =
  | { readonly kind: 'none' }
  | { readonly kind: 'creds'; readonly text: string }
  | { readonly kind: 'nkey'; readonly seed: string }
  | { readonly kind: 'password'; readonly user: string; readonly password: string };

/**
 * Reads the credentials. Read at each connection, so that renewed ones are used.
 * @throws UsageError when a file is missing, open to others, or holds something else. It never repeats the content.
 */
export function readBrokerProof({ creds, nkey }: EngineFiles): BrokerProof {
  if (nkey !== undefined) {
    const seed = /^\s*(S[A-Z2-7]{57})\s*$/m.exec(contentOf(nkey))?.[1];
    if (seed === undefined) throw new UsageError(`${nkey} holds no seed of an NKey (SU and 56 more characters)`);
    return { kind: 'nkey', seed };
  }
  if (creds === undefined) return { kind: 'none' };
  const text = contentOf(creds);
  if (text.includes('-----BEGIN')) return { kind: 'creds', text };
  const [, user, password] = /^([^\s:]+):(\S+)\s*$/.exec(text) ?? [];
  if (user === undefined || password === undefined)
    throw new UsageError(`${creds} holds neither NATS credentials nor one line USER:PASSWORD`);
  return { kind: 'password', user, password };
}

function contentOf(path: string): string {
  const text = readPrivateFile(path);
  if (text === undefined) throw new UsageError(`there is no file ${path}`);
  return text;
}
