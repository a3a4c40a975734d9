/** Fingerprints: the form in which public keys are written, compared and pinned. */
import { createHash } from 'node:crypto';
import { UsageError } from '../errors.js';

/** The pin of a public key: `SHA256:` and the unpadded base64url of the SHA-256 of its SubjectPublicKeyInfo. */
export function fingerprintOf(spki: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(spki).digest('base64url')}`;
}

/**
 * Checks a pin given as text.
 * @throws UsageError when it is not a fingerprint.
 */
export function parseFingerprint(text: string): string {
  if (!/^SHA256:[\w-]{43}$/.test(text))
    throw new UsageError(
      `${JSON.stringify(text.slice(0, 80))} is not a fingerprint: it is "SHA256:" and 43 characters, as sendall agent status --json shows it`,
    );
  return text;
}
