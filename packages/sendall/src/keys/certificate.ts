/**
 * The one kind of certificate sendall makes: self-signed, for a P-256 key, without an end date. TLS needs a certificate
 * to carry a key; trust comes from pins, so names, chains and dates are not checked. Its form is fixed and written here
 * field by field; only node:crypto ever parses certificates.
 *
 * Source: RFC 5280 section 4.1 (fields), 4.1.2.5 (no end date), 4.2.1 (extensions); RFC 5758 section 3.2.
 */
import { randomBytes, sign, type KeyObject } from 'node:crypto';

/** One element: tag, length in its shortest form (required by DER), contents of at most 65,535 bytes. */
function der(tag: number, ...contents: Uint8Array[]): Buffer {
  const body = Buffer.concat(contents);
  const size = body.length;
  const length = size < 0x80 ? [size] : size < 0x100 ? [0x81, size] : [0x82, size >> 8, size & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}
const sequence = (...parts: Uint8Array[]) => der(0x30, ...parts);
const bits = (bytes: Uint8Array, unused = 0) => der(0x03, Buffer.from([unused]), bytes);
const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'));
const TRUE = der(0x01, Buffer.from([0xff]));

const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'));
const name = sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from('sendall'))))); // CN=sendall
const extensions = der(
  0xa3,
  sequence(
    sequence(oid('551d13'), TRUE, der(0x04, sequence())), // basicConstraints: not a CA
    sequence(oid('551d0f'), TRUE, der(0x04, bits(Buffer.from([0x80]), 7))), // keyUsage: digitalSignature
    sequence(oid('551d25'), der(0x04, sequence(oid('2b06010505070301'), oid('2b06010505070302')))), // server and client
  ),
);

/** A certificate in DER for this P-256 key pair, valid from `now`. */
export function selfSignedCertificate(privateKey: KeyObject, publicKey: KeyObject, now = new Date()): Buffer {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40; // positive, and 16 bytes always
  const from = `${now.toISOString().replace(/\D/g, '').slice(2, 14)}Z`;
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))), // version 3
    der(0x02, serial),
    ecdsaWithSha256,
    name,
    sequence(der(0x17, Buffer.from(from)), der(0x18, Buffer.from('99991231235959Z'))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    extensions,
  );
  return sequence(body, ecdsaWithSha256, bits(sign('sha256', body, privateKey)));
}
