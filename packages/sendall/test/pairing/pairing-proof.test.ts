import { createSecretKey } from 'node:crypto';
import { inspect } from 'node:util';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { newCode, pairingProof, parseCode, sameProof } from '../../dist/keys/pairing-proof.js';

const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'.split('');
const keyOf = (text: string) => parseCode(text).export().toString();

describe('a pairing code', () => {
  test('is 26 characters of base 32 in groups, another each time', () => {
    const codes = Array.from({ length: 100 }, newCode);
    for (const code of codes) expect(code).toMatch(/^[0-9A-HJKMNP-TV-Z]{5}(-[0-9A-HJKMNP-TV-Z]{5,6}){4}$/);
    for (const code of codes) expect(code.replaceAll('-', '')).toHaveLength(26);
    expect(new Set(codes).size).toBe(100);
    // Each of the 32 characters comes up: 2,600 draws miss one in 10^34 runs.
    expect(new Set(codes.join('').replaceAll('-', '')).size).toBe(32);
  });

  const characters = fc.array(fc.constantFrom(...alphabet), { minLength: 26, maxLength: 26 });

  test('is read in any spelling people use', () => {
    const noise = fc.constantFrom('', '', '-', ' ', '–', '—', '−', '_', '\t', '\u00a0', '\u3000', '\n');
    const writing = fc.tuple(
      fc.array(fc.boolean(), { minLength: 26, maxLength: 26 }),
      fc.array(noise, { minLength: 27, maxLength: 27 }),
      fc.array(fc.nat(2), { minLength: 26, maxLength: 26 }),
    );
    const alike: Record<string, string> = { 0: 'OOo', 1: 'ILl' };
    fc.assert(
      fc.property(characters, writing, (code, [lower, between, pick]) => {
        const written = code.map((char, i) => {
          const look = (pick[i] && alike[char]?.[pick[i]]) || char;
          return between[i] + (lower[i] ? look.toLowerCase() : look);
        });
        expect(keyOf(written.join('') + between[26])).toBe(code.join(''));
      }),
    );
  });

  test('is read in the full-width letters that an input method may give', () => {
    const code = newCode();
    const wide = code.replace(/[0-9A-Z]/g, (char) => String.fromCodePoint(char.codePointAt(0)! + 0xfee0));
    expect(keyOf(wide)).toBe(keyOf(code));
  });

  test('of another length or with other characters is refused, and not repeated in the error', () => {
    const bad = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 400 }),
      characters.map((code) => code.slice(1).join('')),
      characters.map((code) => `${code.join('')}A`),
      fc.tuple(characters, fc.nat(25), fc.constantFrom('U', '!', 'É', '€', '😀')).map(([code, at, char]) => {
        return code.with(at, char).join('');
      }),
    );
    fc.assert(
      fc.property(bad, (text) => {
        const canonical = text
          .normalize('NFKC')
          .toUpperCase()
          .replace(/[\s\p{Pd}_−]/gu, '');
        fc.pre(text.length > 256 || !/^[0-9A-TV-Z]{26}$/.test(canonical));
        let message = '';
        try {
          parseCode(text);
        } catch (error) {
          message = (error as Error).message;
        }
        expect(message).toMatch(/^(a pairing code has 26 letters and digits|character \d+ of the pairing code)/);
        if (canonical.length > 5) expect(message).not.toContain(canonical);
      }),
    );
  });

  test('stays out of logs', () => {
    const code = newCode();
    expect(inspect(parseCode(code))).not.toContain(code.slice(0, 5));
  });
});

describe('a proof', () => {
  const code = createSecretKey(Buffer.from('0123456789ABCDEFGHJKMNPQRS'));
  const input = {
    binding: Buffer.alloc(32, 1),
    clientSpki: Buffer.from('3003020101', 'hex'),
    agentSpki: Buffer.from('3003020102', 'hex'),
  };

  test('is HMAC-SHA-256 over role, binding and both keys', () => {
    // Made with openssl dgst -sha256 -hmac over the same bytes.
    expect(pairingProof(code, 'client', input).toString('hex')).toBe(
      '91e0fa771320ddfae0bc4b04c80e246bb8e8dbac9a34a6b815c2d7b7d4e97415',
    );
    expect(pairingProof(code, 'agent', input).toString('hex')).toBe(
      'b1c1596e1112a488fe98e3ac8348088bda45d61cd1c657b76a355518ee9843b4',
    );
  });

  test('changes with each of its parts', () => {
    const proofs = [
      pairingProof(code, 'client', input),
      pairingProof(code, 'agent', input),
      pairingProof(createSecretKey(Buffer.from('1123456789ABCDEFGHJKMNPQRS')), 'client', input),
      pairingProof(code, 'client', { ...input, binding: Buffer.alloc(32, 2) }),
      pairingProof(code, 'client', { ...input, clientSpki: input.agentSpki }),
      pairingProof(code, 'client', { ...input, agentSpki: input.clientSpki }),
      pairingProof(code, 'client', { ...input, clientSpki: input.agentSpki, agentSpki: input.clientSpki }),
    ];
    expect(new Set(proofs.map((proof) => proof.toString('hex'))).size).toBe(proofs.length);
  });

  test('equals only an identical one', () => {
    const proof = pairingProof(code, 'client', input);
    expect(sameProof(proof, Buffer.from(proof))).toBe(true);
    expect(sameProof(proof, pairingProof(code, 'agent', input))).toBe(false);
    expect(sameProof(proof, proof.subarray(1))).toBe(false);
    expect(sameProof(proof, Buffer.alloc(0))).toBe(false);
  });
});
