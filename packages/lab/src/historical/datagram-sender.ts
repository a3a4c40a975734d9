/** Tells whether a datagram comes from a process of this user. */
import { createSocket } from 'node:dgram';
import { randomBytes } from 'node:crypto';
import { type End, whoseDatagram } from '../wire/same-user.js';

// A datagram gives only an address and a port, and its sender may be gone by the time we read it. Linux reports who
// owns the sockets on that port now, and a port can be shared: by sockets that all use SO_REUSEADDR, or with one for
// IPv6 alone. So another user can send from the port of a socket of ours and close their own, and the lookup then finds
// ours.
// can send from the port of another socket of ours and close his own, and what is found is ours.

/**
 * The number of looks. Each look asks one of two questions at random: does one socket hold this port alone, and do all
 * sockets on it belong to us? Our own sender passes both. Another user's open socket fails the second question and a
 * closed one the first, so that user would have to guess the question of every look.
 */
const LOOKS = 24;
/** Reading the table takes several steps: a socket can be missed while others come and go. */
const REREADS = 3;

/** Why a datagram from this machine may come from another user's process; undefined when it is certainly ours. */
export async function whyNotOurs(sender: End): Promise<string | undefined> {
  for (const byte of randomBytes(LOOKS)) {
    const reason = byte % 2 === 0 ? await whyShared(sender) : await whyOthers(sender);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** Binds the sender's address and port a second time, which fails if its socket is not shared. */
async function whyShared({ address, port }: End): Promise<string | undefined> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject).once('listening', resolve);
      socket.bind({ address, port, exclusive: true });
    });
    return `port ${port} could be shared with a socket of another user: send from an IPv4 socket without SO_REUSEADDR`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'EADDRINUSE' ? undefined : `the owner of port ${port} cannot be determined: ${code}`;
  } finally {
    socket.close();
  }
}

async function whyOthers(sender: End): Promise<string | undefined> {
  for (let read = 0; read < REREADS; read++) {
    const whose = await whoseDatagram(sender);
    if (whose === 'ours') return undefined;
    if (whose === 'others') break;
  }
  return 'it is not a process of this user, or its socket is gone';
}
