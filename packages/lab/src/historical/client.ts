/** A client of the historical command servers. */
import type { Address } from '../address.js';
import { reach } from '../wire/reach.js';
import { Line } from './line.js';
import { streamProtocols } from './server.js';
import { callUdp } from './udp.js';

/** A client of one of the historical protocols. */
export interface CommandClient {
  /** The bytes of the answer, as they arrive. `last`: no further command will follow. */
  call(command: string, last: boolean): AsyncIterable<Buffer>;
  close(): void;
}

/** Milliseconds to wait for the answer to a datagram. */
export const UDP_TIMEOUT_MS = 10_000;

/**
 * A client of one of the tutorial's command servers.
 * @throws Error when the server cannot be reached
 */
export async function openCommandClient(
  protocolName: string,
  address: Address,
  udpTimeout = UDP_TIMEOUT_MS,
): Promise<CommandClient> {
  const protocol = streamProtocols.find((each) => each.name === protocolName);
  if (!protocol) {
    if (!('port' in address)) throw new Error('udp needs HOST:PORT');
    const { host, port } = address;
    return {
      async *call(command) {
        yield await callUdp(host, port, command, udpTimeout);
      },
      close() {},
    };
  }
  const socket = await reach(address);
  const line = Line.over(socket);
  return {
    call: (command, last) => protocol.call(line, command, last),
    close: () => socket.destroy(),
  };
}
