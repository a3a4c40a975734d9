/** Reads TCP segments from a capture. */
import { lengthPrefixed, type Decoder } from '@sendall/framing';

/** A TCP segment in a capture. */
export interface CapturedSegment {
  /** Seconds since 1970, by the capture's clock. */
  readonly time: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  /** The next byte that its sender expects. */
  readonly acknowledged: number;
  readonly payload: Buffer;
  readonly flags: { readonly syn: boolean; readonly fin: boolean; readonly rst: boolean; readonly ack: boolean };
}

const FILE_HEADER_LENGTH = 24;
const RECORD_HEADER_LENGTH = 16;
const ETHERNET = 1;
const MICROSECONDS_LITTLE_ENDIAN = 0xa1b2c3d4;

/**
 * Parses a capture in pcap's classic format (little endian, microseconds, Ethernet: written by tcpdump for Linux' `lo`)
 * as it arrives, and yields its TCP segments. A capture is a stream of length-prefixed records, so the framing parses
 * it.
 */
export class PcapReader {
  #header = Buffer.alloc(0);
  #records: Decoder | undefined;

  push(chunk: Uint8Array): CapturedSegment[] {
    let rest: Uint8Array = chunk;
    if (!this.#records) {
      this.#header = Buffer.concat([this.#header, chunk]);
      if (this.#header.length < FILE_HEADER_LENGTH) return [];
      const magic = this.#header.readUInt32LE(0);
      const linkType = this.#header.readUInt32LE(20);
      if (magic !== MICROSECONDS_LITTLE_ENDIAN || linkType !== ETHERNET) {
        throw new Error(`not a capture that the lab reads: magic ${magic.toString(16)}, link type ${linkType}`);
      }
      // Record header: seconds, microseconds, length kept, length on the wire. The kept bytes follow.
      this.#records = lengthPrefixed({ offset: 8, bytes: 4, endian: 'le', adjust: 4, strip: 0 }).decoder();
      rest = this.#header.subarray(FILE_HEADER_LENGTH);
    }
    return this.#records.decode(rest).flatMap((record) => segment(record) ?? []);
  }
}

function segment(record: Buffer): CapturedSegment | undefined {
  const time = record.readUInt32LE(0) + record.readUInt32LE(4) / 1e6;
  const frame = record.subarray(RECORD_HEADER_LENGTH);
  if (frame.length < 34 || frame.readUInt16BE(12) !== 0x0800) return undefined; // only IPv4
  const ip = frame.subarray(14);
  const ipHeader = (ip[0]! & 15) * 4;
  if (ip[9] !== 6 || ip.length < ipHeader + 20) return undefined; // only TCP
  const tcp = ip.subarray(ipHeader, ip.readUInt16BE(2));
  const flags = tcp[13]!;
  return {
    time,
    sourcePort: tcp.readUInt16BE(0),
    destinationPort: tcp.readUInt16BE(2),
    sequence: tcp.readUInt32BE(4),
    acknowledged: tcp.readUInt32BE(8),
    payload: Buffer.from(tcp.subarray((tcp[12]! >> 4) * 4)),
    flags: { fin: (flags & 1) !== 0, syn: (flags & 2) !== 0, rst: (flags & 4) !== 0, ack: (flags & 16) !== 0 },
  };
}
