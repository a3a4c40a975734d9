/** Where the console listens: on this machine only. */
import { SendallError, UsageError } from '../../errors.js';
import { holderOf } from './port-holder.js';

/** The port unless another is asked for. */
export const PORT = 7434;
const LOOPBACK = '127.0.0.1';
const PARTS = /^(?:\[([0-9a-f:.]+)\]|([^[\]:]*)):(\d{1,5})$/i;
const LARGEST_PORT = 65_535;

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Reads HOST:PORT. A port of 0 is any free one.
 * @throws UsageError when it is none, or is not on this machine alone.
 */
export function parseListen(text: string): ListenAddress {
  const [, six, four = '', digits = ''] = PARTS.exec(text) ?? [];
  const port = Number(digits);
  if (digits === '' || port > LARGEST_PORT)
    throw new UsageError(`"${text}" is not an address to listen on: write 127.0.0.1:${PORT}`);
  const host = six ?? (four === 'localhost' || four === '' ? LOOPBACK : four);
  if (host !== '::1' && !/^127(\.\d{1,3}){3}$/.test(host))
    throw new UsageError(
      `${host} can be reached from other machines, and the console acts as you: listen on 127.0.0.1 and forward the port (ssh -L ${port}:127.0.0.1:${port} HOST), or start the console where your browser is and reach the machine from there (sendall run HOST)`,
    );
  return { host, port };
}

/** The host and port as a browser names them. */
export const authorityOf = ({ host, port }: ListenAddress): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;

/** Why it cannot listen there, in words for people. */
export function listenError(error: NodeJS.ErrnoException, address: ListenAddress): Error {
  const where = authorityOf(address);
  if (error.code === 'EADDRINUSE')
    return new SendallError(
      'PORT_TAKEN',
      `${where} is taken by ${holderOf(address.port)}: end it, or listen on another port with --listen ${authorityOf({ ...address, port: address.port + 1 })}`,
      { cause: error },
    );
  if (error.code === 'EACCES')
    return new UsageError(`you may not listen on ${where}: choose a port above 1023`, { cause: error });
  return new SendallError('LISTEN', `the console cannot listen on ${where}: ${error.message}`, { cause: error });
}
