/** Checkpoints, the key of a log, and the identity's word for it. */
import { generateKeyPairSync, sign } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { certify, openCertificate } from '../../dist/log/certificate.js';
import {
  logKeyOf,
  newLogKey,
  openCheckpoint,
  parseLogKey,
  readCheckpoint,
  signCheckpoint,
} from '../../dist/log/checkpoint.js';
import { hashFrom, leafHash } from '../../dist/log/hashes.js';

const pem = newLogKey();
const origin = 'sendall-log/aBc-_/0123456789abcdef';
const key = logKeyOf(origin, pem);
const head = { origin, size: 812, root: leafHash(Buffer.from('x')) };

describe('a checkpoint', () => {
  test('says what was signed, and nothing else passes', () => {
    fc.assert(
      fc.property(fc.nat(Number.MAX_SAFE_INTEGER), fc.uint8Array({ minLength: 32, maxLength: 32 }), (size, bytes) => {
        const checkpoint = { origin, size, root: hashFrom(bytes) };
        expect(openCheckpoint(signCheckpoint(checkpoint, pem), parseLogKey(key.text))).toEqual(checkpoint);
      }),
    );
    const note = signCheckpoint(head, pem);
    fc.assert(
      fc.property(fc.nat(note.length - 1), fc.constantFrom('a', '1', '\n', ' ', 'Z'), (at, letter) => {
        if (note[at] === letter) return;
        const forged = note.slice(0, at) + letter + note.slice(at + 1);
        let opened: unknown;
        try {
          opened = openCheckpoint(forged, key);
        } catch (error) {
          expect(error).toMatchObject({ code: 'LOG' });
        }
        // A changed padding bit of the signature changes no byte of it.
        if (opened) expect(opened).toEqual(head);
      }),
    );
  });

  test('of another log, of another key, or without a signature is refused', () => {
    const note = signCheckpoint(head, pem);
    expect(() => openCheckpoint(note, logKeyOf('another', pem))).toThrow('the checkpoint is of the log');
    expect(() => openCheckpoint(note, logKeyOf(origin, newLogKey()))).toThrow('no valid signature');
    expect(() => openCheckpoint(note.slice(0, note.indexOf('\u2014')), key)).toThrow('no valid signature');
    expect(() => readCheckpoint('x'.repeat(5000))).toThrow('more than 4096 characters');
    expect(() => readCheckpoint('a\n01\nb\n\n')).toThrow('its size is not a number');
    expect(() => readCheckpoint('a\n1\nb\n\n')).toThrow('its root is not a SHA-256');
  });

  test('any text is read or refused in words', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 300 }), (text) => {
        for (const read of [readCheckpoint, parseLogKey])
          try {
            read(text);
          } catch (error) {
            expect(error).toMatchObject({ code: 'LOG' });
          }
      }),
    );
  });
});

describe('the certificate of a log key', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const identity = {
    key: String(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    spki: publicKey.export({ type: 'spki', format: 'der' }),
  };

  test('names the key and the identity that stands for it', () => {
    const opened = openCertificate(certify(key, identity));
    expect(opened.key.text).toBe(key.text);
    expect(opened.fingerprint).toMatch(/^SHA256:[\w-]{43}$/);
  });

  test('holds for that key only, and only as a statement about a log', () => {
    const certificate = certify(key, identity);
    const other = logKeyOf(origin, newLogKey());
    expect(() => openCertificate({ ...certificate, key: other.text })).toThrow('has not certified');
    expect(() => openCertificate({ ...certificate, identity: '' })).toThrow('has not certified');
    const bare = sign('sha256', Buffer.from(`${key.text}\n`), identity.key).toString('base64');
    expect(() => openCertificate({ ...certificate, signature: bare })).toThrow('has not certified');
  });
});
