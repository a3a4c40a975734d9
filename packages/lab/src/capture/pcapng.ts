/** Reads captures in the format pcapng, whose sections may differ in byte order. Source: draft-ietf-opsawg-pcapng. */
import type { Chunks } from './chunks.js';
import { CAPTURE_LIMITS, CaptureError, type CaptureLimits, type Packet } from './packet.js';
import type { Skipped } from './skipped.js';

/** The same in both byte orders, so that a section can be recognized before its order is known. */
const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const OBSOLETE_PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const BYTE_ORDER = 0x1a2b3c4d;
const MAJOR_VERSION = 1;
/** Type, total length, and the total length again at the block's end. */
const AROUND = 12;
/** Most bytes of a block that is read besides a packet's own. */
const LARGEST_REST = 1 << 16;
const NANOSECONDS = 1_000_000_000n;
const TIME_RESOLUTION = 9;
const TIME_OFFSET = 14;

/** Blocks that say nothing about what was sent. */
const names = new Map([
  [4, 'name resolution'],
  [5, 'interface statistics'],
  [9, 'systemd journal'],
  [10, 'decryption secrets'],
  [0xbad, 'custom'],
  [0x40000bad, 'custom'],
]);

interface Interface {
  readonly linkType: number;
  /** Most bytes that it kept of a packet; 0: all. */
  readonly snapLength: number;
  /** Nanoseconds since 1970 at a number of its units. */
  readonly time: (units: bigint) => bigint;
}

export const isPcapng = (magic: number): boolean => magic === SECTION;

/** Yields the packets that have arrived whole; called again after each chunk. */
export class PcapngFile {
  readonly #bytes: Chunks;
  readonly #skipped: Skipped;
  readonly #packetBytes: number;
  readonly #most: number;
  #little = true;
  #interfaces: Interface[] = [];
  #count = 0;
  #lastNs = 0n;
  /** Bytes of an ignored block that have not arrived. */
  #ignoring = 0;

  constructor(bytes: Chunks, limits: CaptureLimits, skipped: Skipped) {
    this.#bytes = bytes;
    this.#skipped = skipped;
    this.#packetBytes = limits.packetBytes ?? CAPTURE_LIMITS.packetBytes;
    this.#most = limits.interfaces ?? CAPTURE_LIMITS.interfaces;
  }

  *packets(): Generator<Packet, void, void> {
    const bytes = this.#bytes;
    for (;;) {
      this.#ignoring -= bytes.skip(this.#ignoring);
      if (this.#ignoring > 0 || bytes.length < AROUND) return;
      const at = bytes.offset;
      const head = bytes.peek(AROUND);
      const section = head.readUInt32BE(0) === SECTION;
      if (section) this.#little = littleEndian(head, at);
      const type = this.#u32(head, 0);
      const length = this.#u32(head, 4);
      if (length < AROUND || length % 4 !== 0) {
        throw new CaptureError(`the block at byte ${at} claims ${length} bytes, which no block can have`, at);
      }
      const packet = type === ENHANCED_PACKET || type === SIMPLE_PACKET || type === OBSOLETE_PACKET;
      if (!section && !packet && type !== INTERFACE) {
        const name = names.get(type) ?? `of type 0x${type.toString(16)}`;
        this.#skipped.count(`blocks ${name}`);
        this.#ignoring = length;
        continue;
      }
      const most = this.#packetBytes + LARGEST_REST;
      if (length > most) {
        throw new CaptureError(`the block at byte ${at} claims ${length} bytes, more than the ${most} allowed`, at);
      }
      if (bytes.length < length) return;
      const block = bytes.take(length);
      const again = this.#u32(block, length - 4);
      if (again !== length) {
        throw new CaptureError(
          `the block at byte ${at} claims ${length} bytes at its start and ${again} at its end`,
          at,
        );
      }
      const body = block.subarray(8, length - 4);
      if (section) this.#section(body, at);
      else if (packet) yield this.#packet(type, body, at);
      else this.#addInterface(body, at);
    }
  }

  /** What the file's end cut off, if anything. */
  unfinished(): string | undefined {
    return this.#ignoring > 0 || this.#bytes.length > 0 ? `the block behind packet ${this.#count}` : undefined;
  }

  #section(body: Buffer, at: number): void {
    need(body, 16, at);
    const major = this.#u16(body, 4);
    if (major !== MAJOR_VERSION) {
      throw new CaptureError(`pcapng version ${major} at byte ${at} is not version ${MAJOR_VERSION}`, at);
    }
    this.#interfaces = [];
  }

  #addInterface(body: Buffer, at: number): void {
    need(body, 8, at);
    if (this.#interfaces.length >= this.#most) {
      throw new CaptureError(`the section has more than ${this.#most} interfaces at byte ${at}`, at);
    }
    let resolution = 6;
    let offset = 0n;
    for (let next = 8; next + 4 <= body.length;) {
      const code = this.#u16(body, next);
      const size = this.#u16(body, next + 2);
      const value = body.subarray(next + 4, next + 4 + size);
      if (code === 0) break;
      if (code === TIME_RESOLUTION && value.length === 1) resolution = value[0]!;
      if (code === TIME_OFFSET && value.length === 8) {
        offset = this.#little ? value.readBigInt64LE(0) : value.readBigInt64BE(0);
      }
      next += 4 + size + (-size & 3);
    }
    this.#interfaces.push({
      linkType: this.#u16(body, 0),
      snapLength: this.#u32(body, 4),
      time: (units) => offset * NANOSECONDS + nanoseconds(units, resolution),
    });
  }

  #packet(type: number, body: Buffer, at: number): Packet {
    const header = type === SIMPLE_PACKET ? 4 : 20;
    need(body, header, at);
    const index = type === SIMPLE_PACKET ? 0 : type === ENHANCED_PACKET ? this.#u32(body, 0) : this.#u16(body, 0);
    const from = this.#interfaces[index];
    if (!from) throw new CaptureError(`the packet at byte ${at} is of interface ${index}, which is not described`, at);
    const originalLength = this.#u32(body, header - 4);
    const kept =
      type === SIMPLE_PACKET
        ? Math.min(originalLength, from.snapLength || originalLength, body.length - header)
        : this.#u32(body, 12);
    if (kept > body.length - header) {
      throw new CaptureError(`the packet at byte ${at} claims ${kept} bytes in a block of ${body.length}`, at);
    }
    if (kept > this.#packetBytes) {
      throw new CaptureError(
        `the packet at byte ${at} has ${kept} bytes, more than the ${this.#packetBytes} allowed`,
        at,
      );
    }
    // A simple packet has no time: it counts as the one before.
    if (type === SIMPLE_PACKET) this.#skipped.note('packets without a time');
    else this.#lastNs = from.time((BigInt(this.#u32(body, 4)) << 32n) | BigInt(this.#u32(body, 8)));
    return {
      number: ++this.#count,
      ns: this.#lastNs,
      linkType: from.linkType,
      bytes: body.subarray(header, header + kept),
      originalLength: Math.max(kept, originalLength),
    };
  }

  #u32(bytes: Buffer, at: number): number {
    return this.#little ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
  }

  #u16(bytes: Buffer, at: number): number {
    return this.#little ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
  }
}

function littleEndian(head: Buffer, at: number): boolean {
  if (head.readUInt32LE(8) === BYTE_ORDER) return true;
  if (head.readUInt32BE(8) === BYTE_ORDER) return false;
  throw new CaptureError(`the section at byte ${at} has no byte-order magic`, at);
}

/** @param resolution if_tsresol: the negative power of 10, or of 2 with the highest bit */
function nanoseconds(units: bigint, resolution: number): bigint {
  const power = BigInt(resolution & 0x7f);
  return resolution & 0x80 ? (units * NANOSECONDS) >> power : (units * NANOSECONDS) / 10n ** power;
}

function need(body: Buffer, size: number, at: number): void {
  if (body.length < size) throw new CaptureError(`the block at byte ${at} is too short for its type`, at);
}
