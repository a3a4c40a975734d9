/** Finds the TCP segment or UDP datagram in an IP packet. Sources: RFC 791, 8200, 9293, 768. */

interface Between {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  /** What the capture kept of its contents. */
  readonly payload: Buffer;
  /** Its contents on the wire, in bytes; more than `payload` has if the capture cut it. */
  readonly length: number;
}

export interface TcpSegment extends Between {
  readonly protocol: 'tcp';
  readonly sequence: number;
  /** The next byte that its sender expects. */
  readonly acknowledged: number;
  readonly flags: { readonly syn: boolean; readonly fin: boolean; readonly rst: boolean; readonly ack: boolean };
}

export interface UdpDatagram extends Between {
  readonly protocol: 'udp';
}

const TCP = 6;
const UDP = 17;
const protocols = new Map([
  [1, 'ICMP'],
  [2, 'IGMP'],
  [4, 'IP in IP'],
  [41, 'IPv6 in IP'],
  [47, 'GRE'],
  [50, 'ESP'],
  [58, 'ICMPv6'],
  [59, 'no protocol'],
  [89, 'OSPF'],
  [103, 'PIM'],
  [112, 'VRRP'],
  [132, 'SCTP'],
]);

const FRAGMENT = 'IP fragments';
const CUT = 'packets cut in their headers';
const DAMAGED = 'packets with a damaged header';

/** Extension headers of IPv6, besides the one for fragments and the authentication header. */
const extensions = new Set([0, 43, 60, 135, 139, 140]);
const IPV6_FRAGMENT = 44;
const AUTHENTICATION = 51;
const MOST_EXTENSIONS = 16;

/** Contents of an IP packet: the bytes that the capture kept, and how many there were on the wire. */
interface Contents {
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  readonly bytes: Buffer;
  readonly length: number;
}

/** The segment or datagram, or the name of what the packet is instead. */
export function transportOf(ip: Buffer): TcpSegment | UdpDatagram | string {
  if (ip.length === 0) return CUT;
  const version = ip[0]! >> 4;
  const contents = version === 4 ? ipv4(ip) : version === 6 ? ipv6(ip) : `packets of IP version ${version}`;
  if (typeof contents === 'string') return contents;
  if (contents.protocol === TCP) return tcp(contents);
  if (contents.protocol === UDP) return udp(contents);
  return `packets of ${protocols.get(contents.protocol) ?? `IP protocol ${contents.protocol}`}`;
}

function ipv4(ip: Buffer): Contents | string {
  if (ip.length < 20) return CUT;
  const header = (ip[0]! & 15) * 4;
  // Offloading network cards get segments whose length is not yet filled in.
  const total = ip.readUInt16BE(2) || ip.length;
  if (header < 20 || total < header) return DAMAGED;
  if ((ip.readUInt16BE(6) & 0x3fff) !== 0) return FRAGMENT;
  return {
    protocol: ip[9]!,
    source: `${ip[12]}.${ip[13]}.${ip[14]}.${ip[15]}`,
    destination: `${ip[16]}.${ip[17]}.${ip[18]}.${ip[19]}`,
    bytes: ip.subarray(header, total), // an Ethernet frame may end in padding
    length: total - header,
  };
}

function ipv6(ip: Buffer): Contents | string {
  if (ip.length < 40) return CUT;
  const total = 40 + (ip.readUInt16BE(4) || ip.length - 40);
  let protocol = ip[6]!;
  let at = 40;
  for (let count = 0; extensions.has(protocol) || protocol === IPV6_FRAGMENT || protocol === AUTHENTICATION; count++) {
    if (count === MOST_EXTENSIONS) return 'packets with too many extension headers';
    if (ip.length < at + 8) return CUT;
    if (protocol === IPV6_FRAGMENT && (ip.readUInt16BE(at + 2) & 0xfff9) !== 0) return FRAGMENT;
    const next = ip[at]!;
    at += protocol === IPV6_FRAGMENT ? 8 : protocol === AUTHENTICATION ? (ip[at + 1]! + 2) * 4 : (ip[at + 1]! + 1) * 8;
    protocol = next;
  }
  if (total < at) return DAMAGED;
  return {
    protocol,
    source: ipv6Address(ip.subarray(8, 24)),
    destination: ipv6Address(ip.subarray(24, 40)),
    bytes: ip.subarray(at, total),
    length: total - at,
  };
}

function tcp({ source, destination, bytes, length }: Contents): TcpSegment | string {
  if (length < 20) return DAMAGED;
  if (bytes.length < 20) return CUT;
  const header = (bytes[12]! >> 4) * 4;
  if (header < 20 || header > length) return DAMAGED;
  const flags = bytes[13]!;
  return {
    protocol: 'tcp',
    source,
    sourcePort: bytes.readUInt16BE(0),
    destination,
    destinationPort: bytes.readUInt16BE(2),
    sequence: bytes.readUInt32BE(4),
    acknowledged: bytes.readUInt32BE(8),
    payload: bytes.subarray(header),
    length: length - header,
    flags: { fin: (flags & 1) !== 0, syn: (flags & 2) !== 0, rst: (flags & 4) !== 0, ack: (flags & 16) !== 0 },
  };
}

function udp({ source, destination, bytes, length }: Contents): UdpDatagram | string {
  if (length < 8) return DAMAGED;
  if (bytes.length < 8) return CUT;
  const whole = bytes.readUInt16BE(4) || length;
  if (whole < 8 || whole > length) return DAMAGED;
  return {
    protocol: 'udp',
    source,
    sourcePort: bytes.readUInt16BE(0),
    destination,
    destinationPort: bytes.readUInt16BE(2),
    payload: bytes.subarray(8, whole),
    length: whole - 8,
  };
}

/** The address as text, the longest run of zeros shortened. Source: RFC 5952. */
function ipv6Address(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i));
  let from = 0;
  let longest = 0;
  for (let at = 0; at < 8; at++) {
    let end = at;
    while (end < 8 && groups[end] === 0) end++;
    if (end - at > longest) {
      from = at;
      longest = end - at;
    }
  }
  const hex = (some: readonly number[]) => some.map((group) => group.toString(16)).join(':');
  if (longest < 2) return hex(groups);
  return `${hex(groups.slice(0, from))}::${hex(groups.slice(from + longest))}`;
}
