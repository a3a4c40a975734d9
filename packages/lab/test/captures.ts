/** Captures for tests: frames of every link type, in files of every format. */
import { pcapRecord, pcapHeader } from '../dist/capture/pcap-file.js';

export const LINKS = ['null', 'loop', 'ethernet', 'vlan', 'raw', 'sll', 'sll2'] as const;
export type Link = (typeof LINKS)[number];

const linkTypes = { null: 0, loop: 108, ethernet: 1, vlan: 1, raw: 101, sll: 113, sll2: 276 } as const;

/** An IP packet in a frame of a link type. */
export function framed(link: Link, ip: Buffer): Buffer {
  const six = ip[0]! >> 4 === 6;
  const type = Buffer.from(six ? '86dd' : '0800', 'hex');
  const family = Buffer.from(six ? [0, 0, 0, 30] : [0, 0, 0, 2]);
  switch (link) {
    case 'null':
      return Buffer.concat([family.toReversed(), ip]);
    case 'loop':
      return Buffer.concat([family, ip]);
    case 'ethernet':
      // An Ethernet frame has at least 60 bytes: shorter packets are padded.
      return Buffer.concat([Buffer.alloc(12, 2), type, ip, Buffer.alloc(Math.max(0, 46 - ip.length))]);
    case 'vlan':
      return Buffer.concat([Buffer.alloc(12, 2), Buffer.from('8100000a', 'hex'), type, ip]);
    case 'raw':
      return ip;
    case 'sll':
      return Buffer.concat([Buffer.alloc(14, 1), type, ip]);
    default:
      return Buffer.concat([type, Buffer.alloc(18, 1), ip]);
  }
}

export const FORMATS = [
  'pcap le us',
  'pcap be us',
  'pcap le ns',
  'pcap be ns',
  'pcapng le',
  'pcapng be',
  'pcapng le 2^-20',
  'pcapng simple',
  'pcapng obsolete',
] as const;
export type Format = (typeof FORMATS)[number];

/** A frame, and its time in microseconds since 1970. */
export interface Frame {
  readonly bytes: Buffer;
  readonly us: number;
  /** Bytes that the capture left out at its end. @default 0 */
  readonly cut?: number;
}

/** A capture file. */
export function captureOf(format: Format, link: Link, frames: readonly Frame[]): Buffer {
  return format.startsWith('pcapng') ? pcapng(format, link, frames) : pcap(format, link, frames);
}

function pcap(format: Format, link: Link, frames: readonly Frame[]): Buffer {
  const u32 = writer(format.includes('be'));
  const nano = format.endsWith('ns');
  const version = format.includes('be') ? Buffer.from('00020004', 'hex') : Buffer.from('02000400', 'hex');
  const header = [u32(nano ? 0xa1b23c4d : 0xa1b2c3d4), version, u32(0), u32(0), u32(262_144), u32(linkTypes[link])];
  const records = frames.flatMap(({ bytes, us, cut = 0 }) => {
    const fraction = (us % 1e6) * (nano ? 1000 : 1);
    return [u32(Math.floor(us / 1e6)), u32(fraction), u32(bytes.length), u32(bytes.length + cut), bytes];
  });
  return Buffer.concat([...header, ...records]);
}

function pcapng(format: Format, link: Link, frames: readonly Frame[]): Buffer {
  const big = format.includes('be');
  const u32 = writer(big);
  const u16 = (value: number) => {
    const bytes = Buffer.alloc(2);
    if (big) bytes.writeUInt16BE(value);
    else bytes.writeUInt16LE(value);
    return bytes;
  };
  const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
  const block = (type: number, ...parts: Buffer[]) => {
    const body = padded(Buffer.concat(parts));
    return Buffer.concat([u32(type), u32(body.length + 12), body, u32(body.length + 12)]);
  };
  const resolution = format.endsWith('2^-20') ? 0x80 | 20 : 9;
  const units = (us: number) => (resolution === 9 ? BigInt(us) * 1000n : (BigInt(us) << 20n) / 1_000_000n);
  const time = (us: number) => [u32(Number(units(us) >> 32n)), u32(Number(units(us) & 0xffffffffn))];
  const section = block(0x0a0d0d0a, u32(0x1a2b3c4d), u16(1), u16(0), u32(0xffffffff), u32(0xffffffff));
  const tsresol = Buffer.concat([u16(9), u16(1), Buffer.from([resolution, 0, 0, 0]), u16(0), u16(0)]);
  const described = block(1, u16(linkTypes[link]), u16(0), u32(0), tsresol);
  const statistics = block(5, u32(0), u32(0), u32(0));
  const packets = frames.map(({ bytes, us, cut = 0 }) => {
    const lengths = [u32(bytes.length), u32(bytes.length + cut)];
    if (format.endsWith('simple')) return block(3, u32(bytes.length + cut), bytes);
    if (format.endsWith('obsolete')) return block(2, u16(0), u16(0), ...time(us), ...lengths, bytes);
    return block(6, u32(0), ...time(us), ...lengths, bytes);
  });
  return Buffer.concat([section, described, statistics, ...packets]);
}

function writer(big: boolean): (value: number) => Buffer {
  return (value) => {
    const bytes = Buffer.alloc(4);
    if (big) bytes.writeUInt32BE(value >>> 0);
    else bytes.writeUInt32LE(value >>> 0);
    return bytes;
  };
}

/** A capture of raw IP packets, a millisecond apart. */
export function rawCapture(packets: readonly Buffer[]): Buffer {
  return Buffer.concat([pcapHeader(), ...packets.map((packet, i) => pcapRecord(1e12 + i, packet))]);
}
