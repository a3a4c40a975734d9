/** Connects to an address, or explains the failure. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { formatAddress, type Address } from '../address.js';

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
