/**
 * The identities of a home: P-256 keys, known to others by the SHA-256 of the public key. The home's own is shared by its
 * agent and its callers; callers may have others by name. Loading one needs only node:crypto and takes a millisecond or
 * two.
 */
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '../errors.js';
import { ensurePrivateFolder, type Home } from '../home.js';
import { createPrivateFile, readPrivateFile } from '../files/private-file.js';
import { stampOf } from '../files/stamp.js';
import { selfSignedCertificate } from './certificate.js';
import { fingerprintOf } from './fingerprint.js';

export interface Identity {
  /** Private key, PEM (PKCS #8). Not enumerable, so that it stays out of logs. */
  readonly key: string;
  /** Certificate, PEM. */
  readonly cert: string;
  /** Public key, DER (SubjectPublicKeyInfo). */
  readonly spki: Buffer;
  /** `SHA256:` and 43 characters: the form that pins use. */
  readonly fingerprint: string;
}

function parseIdentity(pem: string, path: string): Identity {
  const block = (label: string) =>
    pem.match(new RegExp(`-----BEGIN ${label}-----[^-]*-----END ${label}-----\n?`))?.[0] ?? '';
  const key = block('PRIVATE KEY');
  const cert = block('CERTIFICATE');
  let spki: Buffer;
  try {
    const certificate = new X509Certificate(cert);
    if (!certificate.checkPrivateKey(createPrivateKey(key))) throw new Error('key and certificate differ');
    spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  } catch {
    // No cause on purpose: no part of a private key may reach an error.
    throw new UsageError(
      `${path} does not hold a private key and its certificate: restore it, or move it away and pair again`,
    );
  }
  const identity = { cert, spki, fingerprint: fingerprintOf(spki) };
  return Object.defineProperty(identity, 'key', { value: key }) as Identity;
}

function newIdentity(): string {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = new X509Certificate(selfSignedCertificate(privateKey, publicKey));
  return String(privateKey.export({ type: 'pkcs8', format: 'pem' })) + certificate.toString();
}

/** By file, with the file's stamp: reading a key and checking it takes a good part of a dial's time. */
const loaded = new Map<string, { readonly stamp: string; readonly identity: Identity }>();

/** The name of a home's own identity. */
export const DEFAULT_IDENTITY = 'default';
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

const folderOf = ({ config }: Home): string => join(config, 'identities');

/**
 * The file of an identity; undefined or "default": the home's own.
 * @throws UsageError for a word that cannot be a name
 */
export function identityFileOf(home: Home, name: string | undefined): string {
  if (name === undefined || name === DEFAULT_IDENTITY) return home.identityFile;
  if (!NAME.test(name))
    throw new UsageError(
      `${JSON.stringify(name.slice(0, 80))} cannot name an identity: use 1 to 63 letters, digits, dots, dashes and underscores, the first a letter or digit`,
    );
  return join(folderOf(home), `${name}.pem`);
}

/**
 * Checks that there is an identity of this name.
 * @throws UsageError when there is none
 */
export function checkIdentity(home: Home, name: string): void {
  if (!existsSync(identityFileOf(home, name))) throw unknownIdentity(name);
}

const unknownIdentity = (name: string) =>
  new UsageError(`there is no identity "${name}": sendall identity new ${name} makes it`);

/**
 * Makes an identity.
 * @throws UsageError when there is one of this name
 */
export async function newNamedIdentity(home: Home, name: string): Promise<Identity> {
  const path = identityFileOf(home, name);
  if (path === home.identityFile)
    throw new UsageError(`"${DEFAULT_IDENTITY}" is this home's own identity: choose another name`);
  // The folder above is sendall's, or is made.
  ensurePrivateFolder(home.config);
  if (!createPrivateFile(path, newIdentity())) throw new UsageError(`there is an identity "${name}" already`);
  return await loadIdentity(home, { name });
}

/**
 * Removes an identity. Hosts that let its key in still do.
 * @throws UsageError when there is none of this name
 */
export function removeIdentity(home: Home, name: string): void {
  const path = identityFileOf(home, name);
  if (path === home.identityFile)
    throw new UsageError(`"${DEFAULT_IDENTITY}" is this home's own identity, which its agent needs too`);
  checkIdentity(home, name);
  rmSync(path);
}

/** The names of all identities that there are, the home's own first. */
export function identityNames(home: Home): string[] {
  const files = existsSync(folderOf(home)) ? readdirSync(folderOf(home)) : [];
  const names = files.flatMap((file) =>
    file.endsWith('.pem') && NAME.test(file.slice(0, -4)) ? file.slice(0, -4) : [],
  );
  return [...(existsSync(home.identityFile) ? [DEFAULT_IDENTITY] : []), ...names.sort()];
}

/**
 * An identity of `home`, the same object while its file is unchanged: its own, or the one called `name`. Without its
 * own, `create` makes it (two concurrent processes get the same one); otherwise UsageError is thrown, as for a file that
 * is a link, another user's, open to others, or invalid.
 */
export async function loadIdentity(
  home: Home,
  { name, create = false }: { name?: string | undefined; create?: boolean } = {},
): Promise<Identity> {
  const path = identityFileOf(home, name);
  const stamp = stampOf(path);
  const before = loaded.get(path);
  if (before && before.stamp === stamp) return before.identity;
  let pem = readPrivateFile(path);
  if (pem === undefined) {
    if (path !== home.identityFile) throw unknownIdentity(name!);
    if (!create) throw new UsageError(`there is no key in ${path} yet: sendall agent or sendall pair makes it`);
    createPrivateFile(path, newIdentity());
    pem = readPrivateFile(path);
  }
  const identity = parseIdentity(pem ?? '', path);
  if (stamp !== undefined) loaded.set(path, { stamp, identity });
  return identity;
}
