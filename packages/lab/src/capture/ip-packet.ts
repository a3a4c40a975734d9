/** Makes IP packets of TCP and UDP with right lengths and checksums. Sources: RFC 791, 8200, 9293, 768, 1071. */
import { isIPv6 } from 'node:net';

/** One end of a connection. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What a TCP segment says besides its bytes. */
export interface SegmentHeader {
  readonly sequence: number;
  /** The next byte that its sender expects; undefined: it says nothing about that. */
  readonly acknowledged?: number;
  readonly syn?: boolean;
  readonly fin?: boolean;
  readonly rst?: boolean;
  readonly push?: boolean;
}

const TCP = 6;
const UDP = 17;
const HOP_LIMIT = 64;
const DONT_FRAGMENT = 0x4000;
const WINDOW = 65_535;
const TCP_HEADER = 20;
const UDP_HEADER = 8;
/** The option that names the largest segment, in a SYN. */
const SEGMENT_SIZE_OPTION = 4;

/** Most bytes of one segment: as on loopback, an IP packet of 65,535 bytes less all headers. */
export const LARGEST_SEGMENT = 65_483;

export function tcpPacket(from: Endpoint, to: Endpoint, header: SegmentHeader, payload: Buffer): Buffer {
  const options = header.syn ? SEGMENT_SIZE_OPTION : 0;
  const segment = Buffer.alloc(TCP_HEADER + options + payload.length);
  segment.writeUInt16BE(from.port, 0);
  segment.writeUInt16BE(to.port, 2);
  segment.writeUInt32BE(header.sequence >>> 0, 4);
  segment.writeUInt32BE((header.acknowledged ?? 0) >>> 0, 8);
  segment[12] = ((TCP_HEADER + options) / 4) << 4;
  segment[13] =
    (header.fin ? 1 : 0) |
    (header.syn ? 2 : 0) |
    (header.rst ? 4 : 0) |
    (header.push ? 8 : 0) |
    (header.acknowledged === undefined ? 0 : 16);
  segment.writeUInt16BE(WINDOW, 14);
  if (header.syn) {
    segment[20] = 2;
    segment[21] = SEGMENT_SIZE_OPTION;
    segment.writeUInt16BE(LARGEST_SEGMENT, 22);
  }
  payload.copy(segment, TCP_HEADER + options);
  return ipPacket(from, to, TCP, segment, 16);
}

export function udpPacket(from: Endpoint, to: Endpoint, payload: Buffer): Buffer {
  const datagram = Buffer.alloc(UDP_HEADER + payload.length);
  datagram.writeUInt16BE(from.port, 0);
  datagram.writeUInt16BE(to.port, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  payload.copy(datagram, UDP_HEADER);
  return ipPacket(from, to, UDP, datagram, 6);
}

/** @param checksumAt where the checksum of the transport's header stands, which is still 0 */
function ipPacket(from: Endpoint, to: Endpoint, protocol: number, contents: Buffer, checksumAt: number): Buffer {
  const source = addressBytes(from.address);
  const destination = addressBytes(to.address);
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(contents.length, 0);
  pseudo.writeUInt32BE(protocol, 4);
  const sum = checksum([source, destination, pseudo, contents]);
  // 0 would mean "none" for UDP; all ones are the same number.
  contents.writeUInt16BE(sum === 0 && protocol === UDP ? 0xffff : sum, checksumAt);
  const header = source.length === 4 ? ipv4Header(protocol, contents.length) : ipv6Header(protocol, contents.length);
  source.copy(header, header.length - 2 * source.length);
  destination.copy(header, header.length - source.length);
  if (source.length === 4) header.writeUInt16BE(checksum([header]), 10);
  return Buffer.concat([header, contents]);
}

function ipv4Header(protocol: number, length: number): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + length, 2);
  header.writeUInt16BE(DONT_FRAGMENT, 6);
  header[8] = HOP_LIMIT;
  header[9] = protocol;
  return header;
}

function ipv6Header(protocol: number, length: number): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(length, 4);
  header[6] = protocol;
  header[7] = HOP_LIMIT;
  return header;
}

/** The Internet checksum of parts of even length; the last may be odd. */
function checksum(parts: readonly Buffer[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let at = 0; at + 1 < part.length; at += 2) sum += part.readUInt16BE(at);
    if (part.length % 2 === 1) sum += part.at(-1)! << 8;
  }
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

function addressBytes(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split('.').map(Number));
  const plain = address.split('%', 1)[0]!.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes: string[]) => {
    const [a, b, c, d] = bytes.map(Number) as [number, number, number, number];
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [front = '', back] = plain.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((group) => parseInt(group, 16)));
  const head = groups(front);
  const tail = back === undefined ? [] : groups(back);
  const all = [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => 0), ...tail];
  const bytes = Buffer.alloc(16);
  all.forEach((group, i) => bytes.writeUInt16BE(group, 2 * i));
  return bytes;
}
