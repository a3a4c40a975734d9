/** Tells whether the peer of a loopback connection belongs to this user. */
import { readFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';

/** One end of a connection on this machine. */
export interface End {
  readonly address: string;
  readonly port: number;
}

interface Entry {
  readonly local: string;
  readonly localPort: number;
  readonly remote: string;
  readonly remotePort: number;
  readonly uid: number;
  readonly inode: number;
}

/**
 * Whether the peer of a loopback connection belongs to the user of this process. Linux lists the uid of each socket in
 * /proc/net/tcp. A socket closed by its process is listed with uid 0 and inode 0; it belongs to no user, not even to
 * root. False when the owner is unknown.
 *
 * @param ours our end as the peer sees it
 */
export async function isSameUser(peer: End, ours: End): Promise<boolean> {
  const entries = [...(await table('/proc/net/tcp')), ...(await table('/proc/net/tcp6'))];
  const peerAddress = hexAddress(peer.address);
  const ourAddress = hexAddress(ours.address);
  return areOurs(
    entries.filter(
      (entry) =>
        same(entry.local, peerAddress) &&
        entry.localPort === peer.port &&
        same(entry.remote, ourAddress) &&
        entry.remotePort === ours.port,
    ),
  );
}

/** The owners of the sockets that may have sent a datagram from an address, according to /proc. */
export async function whoseDatagram(peer: End): Promise<'ours' | 'others' | 'none'> {
  const address = hexAddress(peer.address);
  const local = (entry: Entry) => entry.localPort === peer.port;
  const v4 = (await table('/proc/net/udp')).filter((each) => local(each) && (each.local === address || wild(each)));
  const v6 = (await table('/proc/net/udp6')).filter((each) => local(each) && (same(each.local, address) || wild(each)));
  // An IPv6 socket bound to every address may be for IPv6 alone and then sends nothing over IPv4. By itself it proves
  // nothing, but another user's could be the sender.
  if (v4.length === 0 && !v6.some((each) => !wild(each))) return v6.length === 0 ? 'none' : 'others';
  return areOurs([...v4, ...v6]) ? 'ours' : 'others';
}

function wild(entry: Entry): boolean {
  return /^0+$/.test(entry.local);
}

function areOurs(entries: readonly Entry[]): boolean {
  const uid = process.getuid?.();
  return uid !== undefined && entries.length > 0 && entries.every((entry) => entry.uid === uid && entry.inode !== 0);
}

/** Whether this machine can tell who owns a connection. */
export async function canTellUsers(): Promise<boolean> {
  return process.getuid !== undefined && (await table('/proc/net/tcp', 'missing')) !== undefined;
}

async function table(path: string): Promise<Entry[]>;
async function table(path: string, whenMissing: 'missing'): Promise<Entry[] | undefined>;
async function table(path: string, whenMissing?: 'missing'): Promise<Entry[] | undefined> {
  let content: string;
  try {
    content = await readFile(path, 'latin1');
  } catch {
    return whenMissing ? undefined : [];
  }
  const entries: Entry[] = [];
  for (const line of content.split('\n').slice(1)) {
    // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
    const fields = line.trim().split(/\s+/);
    const [local, localPort] = (fields[1] ?? '').split(':');
    const [remote, remotePort] = (fields[2] ?? '').split(':');
    if (!local || !localPort || !remote || !remotePort) continue;
    entries.push({
      local,
      localPort: parseInt(localPort, 16),
      remote,
      remotePort: parseInt(remotePort, 16),
      uid: Number(fields[7]),
      inode: Number(fields[9]),
    });
  }
  return entries;
}

/** An IPv4 address in the table's form: the bytes as one number in machine byte order, in hex. */
function hexAddress(address: string): string {
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address;
  if (!isIPv4(plain)) throw new Error(`not an IPv4 address: ${address}`);
  const bytes = Buffer.from(plain.split('.').map(Number));
  const word = new Uint32Array(new Uint8Array(bytes).buffer)[0]!;
  return word.toString(16).toUpperCase().padStart(8, '0');
}

/** Equal, or the same address mapped into IPv6 (the last of four words). */
function same(written: string, address: string): boolean {
  if (written.length === 8) return written === address;
  return written.endsWith(address) && /^0{16}(FFFF0000|0000FFFF)/.test(written);
}
