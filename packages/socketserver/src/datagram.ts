/** One datagram, as a handler sees it. */
import type { PeerAddress } from './address.js';

/** What a datagram server answers through. */
export interface DatagramSocket {
  /**
   * Sends one datagram.
   * @throws the system's error: `EMSGSIZE`, `ECONNREFUSED`, `ENOENT`, ...
   */
  send(data: Uint8Array, to: PeerAddress): Promise<void>;
}

/** One datagram: the request of a datagram server. */
export class Datagram {
  constructor(
    readonly data: Buffer,
    readonly peer: PeerAddress,
    readonly truncated: boolean,
    readonly socket: DatagramSocket,
  ) {}

  /** Sends one datagram back to the sender. */
  reply(data: Uint8Array | string): Promise<void> {
    const sent = this.socket.send(typeof data === 'string' ? Buffer.from(data) : data, this.peer);
    sent.catch(() => {});
    return sent;
  }
}
