/**
 * Reads captures in pcap's classic format, in both byte orders, with microseconds or nanoseconds. Source:
 * draft-ietf-opsawg-pcap.
 */
import type { Chunks } from './chunks.js';
import { CAPTURE_LIMITS, CaptureError, type CaptureLimits, type Packet } from './packet.js';

const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const MAJOR_VERSION = 2;
/** The upper half of the link type's field tells of a frame check sequence. */
const LINK_TYPE_BITS = 0xffff;

/** The magic numbers, read as big endian: the byte order of the rest, and nanoseconds of one unit of time. */
const formats = new Map([
  [0xa1b2c3d4, { little: false, unit: 1000 }],
  [0xd4c3b2a1, { little: true, unit: 1000 }],
  [0xa1b23c4d, { little: false, unit: 1 }],
  [0x4d3cb2a1, { little: true, unit: 1 }],
]);

export const isPcap = (magic: number): boolean => formats.has(magic);

/** Yields the packets that have arrived whole; called again after each chunk. */
export class PcapFile {
  readonly #bytes: Chunks;
  readonly #packetBytes: number;
  #format: { readonly little: boolean; readonly unit: number; readonly linkType: number } | undefined;
  #count = 0;

  constructor(bytes: Chunks, { packetBytes = CAPTURE_LIMITS.packetBytes }: CaptureLimits) {
    this.#bytes = bytes;
    this.#packetBytes = packetBytes;
  }

  *packets(): Generator<Packet, void, void> {
    const bytes = this.#bytes;
    if (!this.#format) {
      if (bytes.length < FILE_HEADER) return;
      this.#format = fileHeader(bytes.take(FILE_HEADER));
    }
    const { little, unit, linkType } = this.#format;
    while (bytes.length >= RECORD_HEADER) {
      const header = bytes.peek(RECORD_HEADER);
      const [seconds, fraction, kept, originalLength] = [0, 4, 8, 12].map((at) => u32(header, at, little)) as [
        number,
        number,
        number,
        number,
      ];
      if (kept > this.#packetBytes) {
        throw new CaptureError(
          `packet ${this.#count + 1} at byte ${bytes.offset} claims ${kept} bytes, more than the ${this.#packetBytes} allowed`,
          bytes.offset,
        );
      }
      if (bytes.length < RECORD_HEADER + kept) return;
      bytes.skip(RECORD_HEADER);
      yield {
        number: ++this.#count,
        ns: BigInt(seconds) * 1_000_000_000n + BigInt(fraction * unit),
        linkType,
        bytes: bytes.take(kept),
        originalLength: Math.max(kept, originalLength),
      };
    }
  }

  /** What the file's end cut off, if anything. */
  unfinished(): string | undefined {
    if (!this.#format) return 'its header';
    return this.#bytes.length > 0 ? `packet ${this.#count + 1}` : undefined;
  }
}

function fileHeader(header: Buffer): { little: boolean; unit: number; linkType: number } {
  const { little, unit } = formats.get(header.readUInt32BE(0))!;
  const major = little ? header.readUInt16LE(4) : header.readUInt16BE(4);
  if (major !== MAJOR_VERSION) throw new CaptureError(`pcap version ${major} is not version ${MAJOR_VERSION}`, 4);
  return { little, unit, linkType: u32(header, 20, little) & LINK_TYPE_BITS };
}

function u32(bytes: Buffer, at: number, little: boolean): number {
  return little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
}
