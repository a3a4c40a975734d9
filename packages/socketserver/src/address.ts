/** Addresses: what a server is asked to listen on, what it is bound to, and peers. */
import { SocketServerError } from './errors.js';

/** Where a server listens. Port 0 takes a free one; `serverAddress` tells which. */
export type Address = TcpAddress | PathAddress | DescriptorAddress;

export interface TcpAddress {
  /** A host name or IP address. @default every address of this machine, IPv6 and IPv4 */
  host?: string;
  /** 0 to 65535; 0 takes any free port. */
  port: number;
}

export interface PathAddress {
  /** A path of at most 107 bytes, or `'\0name'` for a name in Linux' abstract space, which has no file. */
  path: string;
  /** Permission bits of the file, in force from its creation on. @default 0o777 less the umask */
  mode?: number;
  /**
   * What to do with a socket file that was left there without a server: `replace` it or `fail`. A socket that answers
   * is `EADDRINUSE` either way.
   * @default 'replace'
   */
  stale?: 'replace' | 'fail';
}

/** A peer, or our own end of a connection: host and port, or a Unix path ('' where it has no name). */
export type PeerAddress = { host: string; port: number; family?: 'IPv4' | 'IPv6' } | { path: string };

/** A listening socket that exists already, by its descriptor's number. */
export interface DescriptorAddress {
  fd: number;
}

/** Where a TCP, TLS or UDP server listens once bound: the real host and port. */
export interface BoundHost {
  host: string;
  port: number;
}

/** Where a Unix server listens once bound: the path, or `'\0name'`, with what was asked for beside it. */
export type BoundPath = PathAddress;

/**
 * What `serverAddress` is once bound. The classes say which: `TCPServer`, `TLSServer` and `UDPServer` have a
 * {@link BoundHost}, the Unix servers a {@link BoundPath}. Threads that accept by themselves from `{ fd }` leave it so.
 */
export type BoundAddress = BoundHost | BoundPath | DescriptorAddress;

function bad(what: string): never {
  throw new SocketServerError('INVALID_ADDRESS', `${what}; an address is { host?, port }, { path } or { fd }`);
}

const keys = { port: ['host', 'port'], path: ['path', 'mode', 'stale'], fd: ['fd'] };

/**
 * Checks an address at the door; the message names the part that is wrong.
 * @throws SocketServerError
 */
export function checkAddress(address: Address): void {
  if (typeof address !== 'object' || address === null) return bad(`the address is ${String(address)}`);
  const kind = 'path' in address ? 'path' : 'fd' in address ? 'fd' : 'port' in address ? 'port' : undefined;
  if (kind === undefined) return bad('the address has neither port, path nor fd');
  const unknown = Object.keys(address).find((key) => !keys[kind].includes(key) && key !== 'family');
  if (unknown !== undefined) return bad(`"${unknown}" is no part of an address with "${kind}"`);
  if ('path' in address) {
    if (typeof address.path !== 'string' || address.path === '') return bad('path is not a text of some length');
    if (address.path.includes('\0', 1)) return bad('path holds a NUL (one may only begin an abstract name)');
    const { mode, stale } = address;
    if (mode !== undefined && !(Number.isInteger(mode) && mode >= 0 && mode <= 0o777))
      return bad(`mode is ${String(mode)}, not 0 to 0o777`);
    if (stale !== undefined && stale !== 'replace' && stale !== 'fail')
      return bad(`stale is ${String(stale)}, not 'replace' or 'fail'`);
  } else if ('fd' in address) {
    if (!Number.isInteger(address.fd) || address.fd < 0) return bad(`fd is ${String(address.fd)}`);
  } else {
    const { port, host } = address;
    if (!(Number.isInteger(port) && port >= 0 && port <= 65535)) return bad(`port is ${String(port)}, not 0 to 65535`);
    if (host !== undefined && typeof host !== 'string') return bad(`host is ${String(host)}`);
  }
}

/** An address as people write it: `127.0.0.1:80`, `[::1]:80`, `unix:/run/x`. */
export function showAddress(address: Address | PeerAddress | undefined): string {
  if (address === undefined) return 'unknown';
  if ('path' in address) return address.path === '' ? 'unix:(unnamed)' : `unix:${address.path.replace('\0', '@')}`;
  if ('fd' in address) return `fd ${address.fd}`;
  const host = address.host ?? '*';
  return `${host.includes(':') ? `[${host}]` : host}:${address.port}`;
}
