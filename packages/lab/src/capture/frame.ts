/** Finds the IP packet in a frame, by its link type. Source: tcpdump.org, "Link-layer header types". */
import type { Packet } from './packet.js';

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
/** Tags of VLANs: IEEE 802.1Q, 802.1ad, and the older 0x9100. */
const tags = new Set([0x8100, 0x88a8, 0x9100]);
const MOST_TAGS = 4;
/** Values of AF_INET and of AF_INET6, which differs between systems. */
const families = new Map([2, 10, 24, 28, 30].map((family) => [family, family === 2 ? IPV4 : IPV6]));

const etherTypes = new Map([
  [0x0806, 'ARP'],
  [0x8035, 'RARP'],
  [0x88cc, 'LLDP'],
  [0x8863, 'PPPoE'],
  [0x8864, 'PPPoE'],
  [0x8847, 'MPLS'],
  [0x8848, 'MPLS'],
  [0x888e, '802.1X'],
  [0x88e5, 'MACsec'],
]);

const LONGEST_LENGTH = 1500;

/** The IP packet, or the name of what the frame is instead. */
export function networkPacket({ linkType, bytes }: Packet): Buffer | string {
  switch (linkType) {
    case 0: // NULL: the address family in the byte order of the capturing machine
    case 108: // LOOP: the same in network byte order
      return loopback(bytes);
    case 1:
      return bytes.length < 14 ? 'frames cut in their header' : typed(bytes, 12);
    case 12: // raw IP; 12 and 14 were DLT_RAW on some systems
    case 14:
    case 101:
    case 228:
    case 229:
      return bytes;
    case 113: // Linux cooked capture v1
      return bytes.length < 16 ? 'frames cut in their header' : typed(bytes, 14);
    case 276: // Linux cooked capture v2: the type comes first, the packet behind 20 bytes
      return bytes.length < 20 ? 'frames cut in their header' : contents(bytes, bytes.readUInt16BE(0), 20);
    default:
      return `frames of link type ${linkType}`;
  }
}

function loopback(bytes: Buffer): Buffer | string {
  if (bytes.length < 4) return 'frames cut in their header';
  const type = families.get(bytes.readUInt32LE(0)) ?? families.get(bytes.readUInt32BE(0));
  return type === undefined ? 'frames of other address families' : bytes.subarray(4);
}

/** What follows an EtherType at this place, behind tags. */
function typed(bytes: Buffer, at: number): Buffer | string {
  let type = bytes.readUInt16BE(at);
  let next = at + 2;
  for (let count = 0; tags.has(type); count++) {
    if (count === MOST_TAGS) return 'frames with too many tags';
    if (bytes.length < next + 4) return 'frames cut in their header';
    type = bytes.readUInt16BE(next + 2);
    next += 4;
  }
  return contents(bytes, type, next);
}

function contents(bytes: Buffer, type: number, at: number): Buffer | string {
  if (type === IPV4 || type === IPV6) return bytes.subarray(at);
  if (type <= LONGEST_LENGTH) return 'frames of IEEE 802.3';
  const name = etherTypes.get(type);
  return name === undefined ? `frames of type 0x${type.toString(16).padStart(4, '0')}` : `frames of ${name}`;
}
