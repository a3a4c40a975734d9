import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { formatAddress, type Address } from '../address.js';
import { Line } from './line.js';
import { streamProtocols } from './server.js';
import { callUdp } from './udp.js';

export interface CommandClient {
  /** The bytes of the answer, as they come. `last`: no further command will follow. */
  call(command: string, last: boolean): AsyncIterable<Buffer>;
  close(): void;
}

/** How long a datagram's answer is waited for. */
export const udpTimeoutMs = 10_000;

/**
 * A client of one of the tutorial's command servers.
 * @throws Error when the server cannot be reached
 */
export async function openCommandClient(
  protocolName: string,
  address: Address,
  udpTimeout = udpTimeoutMs,
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

/** @throws Error that names the address and the reason */
export async function reach(address: Address): Promise<Socket> {
  const socket = connect({ ...address, noDelay: true, allowHalfOpen: true });
  try {
    await once(socket, 'connect');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(`cannot reach ${formatAddress(address)}: ${code ?? message}`, { cause: error });
  }
  return socket;
}
