/**
 * The PROXY protocol: what a load balancer puts before the first byte to say who really called.
 * Source: "The PROXY protocol, versions 1 & 2" of HAProxy, sections 2.1 and 2.2.
 */
import { isIPv4, isIPv6 } from 'node:net';
import type { PeerAddress } from '../address.js';
import { ProxyHeaderError } from '../errors.js';
import type { ProxyProtocol } from '../options.js';

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** The longest version 1 line, its CRLF included (section 2.1). */
const LONGEST_V1 = 107;
const v1Start = Buffer.from('PROXY ', 'latin1');
/** Most bytes of a version 2 header: addresses need at most 216, the rest is for its extensions. */
const LONGEST_V2 = 4_096;

/** One extension of a version 2 header. `type`: section 2.2, for example 0x02 authority, 0x05 unique id, 0x20 TLS. */
export interface ProxyTlv {
  readonly type: number;
  readonly value: Buffer;
}

/** What a PROXY header said. */
export interface ProxyHeader {
  readonly version: 1 | 2;
  /** Bytes that the header takes. */
  readonly length: number;
  /** Absent for health checks of the balancer itself (LOCAL, UNKNOWN): the real peer counts. */
  readonly peer?: PeerAddress;
  readonly local?: PeerAddress;
  /** The extensions of a version 2 header in their order, padding (NOOP) left out. Empty for version 1 and LOCAL. */
  readonly tlvs: readonly ProxyTlv[];
}

/**
 * Looks for a header at the beginning of `bytes`. Addresses that are none, transports that no stream has, extensions
 * that do not fit and a wrong checksum are refused.
 * @returns undefined when more bytes are needed, null when there is none (for `optional`)
 * @throws ProxyHeaderError
 */
export function parseProxyHeader(bytes: Buffer, accept: ProxyProtocol = true): ProxyHeader | null | undefined {
  if (bytes.length === 0) return undefined;
  const isPart = (start: Buffer): boolean =>
    bytes.subarray(0, start.length).equals(start.subarray(0, Math.min(start.length, bytes.length)));
  if (accept !== 'v1' && isPart(signature)) return bytes.length < 16 ? undefined : parseV2(bytes);
  if (accept !== 'v2' && isPart(v1Start)) return parseV1(bytes);
  if (accept === 'optional') return null;
  throw new ProxyHeaderError(
    `no PROXY protocol header${typeof accept === 'string' ? ` (${accept})` : ''}: the connection does not begin with one`,
  );
}

function parseV1(bytes: Buffer): ProxyHeader | undefined {
  const end = bytes.subarray(0, LONGEST_V1).indexOf('\r\n');
  if (end < 0) {
    if (bytes.length >= LONGEST_V1) throw new ProxyHeaderError('the PROXY line has no end in its first 107 bytes');
    return undefined;
  }
  const line = bytes.toString('latin1', 0, end);
  const length = end + 2;
  const [, protocol, from, to, fromPort, toPort, ...more] = line.split(' ');
  if (protocol === 'UNKNOWN') return { version: 1, length, tlvs: [] };
  const isAddress = protocol === 'TCP4' ? isIPv4 : protocol === 'TCP6' ? isPlainIPv6 : undefined;
  const wellFormed =
    isAddress !== undefined &&
    more.length === 0 &&
    isAddress(from ?? '') &&
    isAddress(to ?? '') &&
    isPort(fromPort) &&
    isPort(toPort);
  if (!wellFormed) throw new ProxyHeaderError(`the PROXY line is malformed: ${JSON.stringify(line)}`);
  return {
    version: 1,
    length,
    peer: { host: from!, port: Number(fromPort) },
    local: { host: to!, port: Number(toPort) },
    tlvs: [],
  };
}

/** Without a zone (`%eth0`), which means something on one machine only. */
function isPlainIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%');
}

function isPort(text: string | undefined): boolean {
  return text !== undefined && /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65535;
}

/** Bytes of both addresses by the byte for family and protocol: unspecified, and TCP or a Unix stream. */
const addressBytes = new Map([
  [0x00, 0],
  [0x11, 12],
  [0x21, 36],
  [0x31, 216],
]);

function parseV2(bytes: Buffer): ProxyHeader | undefined {
  const version = bytes[12]! >> 4;
  const command = bytes[12]! & 15;
  const transport = bytes[13]!;
  const length = 16 + bytes.readUInt16BE(14);
  if (version !== 2 || command > 1)
    throw new ProxyHeaderError(`PROXY version ${version}, command ${command} is not known`);
  if (length > LONGEST_V2) throw new ProxyHeaderError(`a PROXY header of ${length} bytes: more than ${LONGEST_V2}`);
  const need = addressBytes.get(transport);
  // Of a LOCAL header all that is said about addresses is ignored, whatever it is (section 2.2).
  if (command === 1 && need === undefined)
    throw new ProxyHeaderError(
      `a PROXY header for transport 0x${transport.toString(16).padStart(2, '0')}: not one of a stream ` +
        '(0x11 and 0x21 for TCP, 0x31 for a Unix socket, 0x00 for unspecified)',
    );
  if (command === 1 && length - 16 < need!)
    throw new ProxyHeaderError(`a PROXY header with ${length - 16} bytes of addresses: its transport has ${need}`);
  if (bytes.length < length) return undefined;
  if (command === 0) return { version: 2, length, tlvs: [] };
  const body = bytes.subarray(16, length);
  const tlvs = parseProxyTlvs(body.subarray(need));
  checkTlvs(bytes.subarray(0, length), tlvs);
  return {
    version: 2,
    length,
    ...addressesOf(transport, body),
    tlvs: tlvs.filter(({ type }) => type !== NOOP).map(({ type, value }) => ({ type, value: Buffer.from(value) })),
  };
}

function addressesOf(transport: number, body: Buffer): Pick<ProxyHeader, 'peer' | 'local'> {
  switch (transport) {
    case 0x11:
      return {
        peer: { host: body.subarray(0, 4).join('.'), port: body.readUInt16BE(8) },
        local: { host: body.subarray(4, 8).join('.'), port: body.readUInt16BE(10) },
      };
    case 0x21:
      return {
        peer: { host: ipv6(body.subarray(0, 16)), port: body.readUInt16BE(32) },
        local: { host: ipv6(body.subarray(16, 32)), port: body.readUInt16BE(34) },
      };
    case 0x31:
      return { peer: { path: cString(body.subarray(0, 108)) }, local: { path: cString(body.subarray(108, 216)) } };
    default:
      return {};
  }
}

const CRC32C = 0x03;
const NOOP = 0x04;
const TLS = 0x20;

/**
 * Takes extensions apart: a type, a length of two bytes, the value. Also for those inside of the one for TLS (0x20),
 * behind its first five bytes.
 * @throws ProxyHeaderError where one does not end with the bytes, or before them
 */
export function parseProxyTlvs(bytes: Buffer): ProxyTlv[] {
  const tlvs: ProxyTlv[] = [];
  for (let at = 0; at < bytes.length;) {
    const from = at + 3;
    const end = from <= bytes.length ? from + bytes.readUInt16BE(at + 1) : Infinity;
    if (end > bytes.length) throw new ProxyHeaderError('an extension of the PROXY header goes beyond its end');
    tlvs.push({ type: bytes[at]!, value: bytes.subarray(from, end) });
    at = end;
  }
  return tlvs;
}

/** What the protocol says about single extensions: the parts of the one for TLS, and the checksum (section 2.2.3). */
function checkTlvs(header: Buffer, tlvs: readonly ProxyTlv[]): void {
  for (const { type, value } of tlvs) {
    if (type === TLS) {
      if (value.length < 5) throw new ProxyHeaderError(`the TLS extension has ${value.length} bytes, not 5 or more`);
      parseProxyTlvs(value.subarray(5));
    } else if (type === CRC32C) {
      if (value.length !== 4) throw new ProxyHeaderError(`the checksum has ${value.length} bytes, not 4`);
      // It is made with zeros in its own place.
      const blank = Buffer.from(header);
      const at = value.byteOffset - header.byteOffset;
      blank.fill(0, at, at + 4);
      if (castagnoli(blank) !== value.readUInt32BE(0))
        throw new ProxyHeaderError('the PROXY header does not have its checksum');
    }
  }
}

/** CRC-32C: reflected, polynomial 0x1edc6f41. */
function castagnoli(bytes: Buffer): number {
  let sum = 0xffff_ffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0x82f6_3b78 : sum >>> 1;
  }
  return ~sum >>> 0;
}

function ipv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0, 1);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end).replace(/^\0$/, '');
}
