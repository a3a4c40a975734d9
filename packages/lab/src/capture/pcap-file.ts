/** The header and the records of a capture file: pcap, little endian, microseconds, raw IP. */

/** Most bytes of a packet, as the file's header says. */
const SNAP_LENGTH = 262_144;
const RAW_IP = 101;

export function pcapHeader(): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(SNAP_LENGTH, 16);
  header.writeUInt32LE(RAW_IP, 20);
  return header;
}

/** @param atMs milliseconds since 1970 */
export function pcapRecord(atMs: number, packet: Buffer): Buffer {
  const header = Buffer.alloc(16);
  const microseconds = Math.max(0, Math.round(atMs * 1000));
  header.writeUInt32LE(Math.floor(microseconds / 1e6) >>> 0, 0);
  header.writeUInt32LE(microseconds % 1e6, 4);
  header.writeUInt32LE(packet.length, 8);
  header.writeUInt32LE(packet.length, 12);
  return Buffer.concat([header, packet]);
}
