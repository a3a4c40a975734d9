/**
 * The identity of a machine and its callers: one P-256 key for each home, shared by its agent and its callers, and
 * known to others by the SHA-256 of its public key. Loading it needs only node:crypto and takes a millisecond or two.
 */
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { UsageError } from '../errors.js';
import type { Home } from '../home.js';
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

/**
 * The identity of `home`, the same object while its file is unchanged. Without one, `create` makes it (two concurrent
 * processes get the same one); otherwise UsageError is thrown, as for a file that is a link, another user's, open to
 * others, or invalid.
 */
export async function loadIdentity(home: Home, options: { create?: boolean } = {}): Promise<Identity> {
  const path = home.identityFile;
  const stamp = stampOf(path);
  const before = loaded.get(path);
  if (before && before.stamp === stamp) return before.identity;
  let pem = readPrivateFile(path);
  if (pem === undefined) {
    if (!options.create) throw new UsageError(`there is no key in ${path} yet: sendall agent or sendall pair makes it`);
    createPrivateFile(path, newIdentity());
    pem = readPrivateFile(path);
  }
  const identity = parseIdentity(pem ?? '', path);
  if (stamp !== undefined) loaded.set(path, { stamp, identity });
  return identity;
}
