/** Addresses as people write them. Separate from tls.ts, so that reading the list of hosts does not load TLS. */
import { isIPv6 } from 'node:net';
import { UsageError } from '../errors.js';
import { isNatsHost, parseNatsHost } from './nats-address.js';

/** The port of a tls:// address without one. */
const DEFAULT_PORT = 7433;

export interface TlsAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Parses `tls://HOST[:PORT]`, with an IPv6 host in brackets.
 * @throws UsageError for anything else.
 */
export function parseTlsUrl(url: string): TlsAddress {
  const [, literal, name, digits] =
    /^tls:\/\/(?:\[([^\]]*)\]|([\p{L}\p{N}._-]*))(?::0{0,9}(\d{1,5}))?\/?$/u.exec(url) ?? [];
  const host = literal ?? name;
  const port = digits === undefined ? DEFAULT_PORT : Number(digits);
  if (!host || host.length > 253 || (literal !== undefined && !isIPv6(literal)) || port > 65_535)
    throw new UsageError(
      `${JSON.stringify(url.slice(0, 300))} is not an address: write tls://HOST:PORT or tls://[::1]:PORT`,
    );
  return { host, port };
}

/** Gives equivalent addresses the same URL: lower case, the shortest form of IPv6, an explicit port. */
export function canonicalTlsUrl(url: string): string {
  const { host, port } = parseTlsUrl(url);
  if (!isIPv6(host)) return formatTlsUrl({ host: host.toLowerCase(), port });
  // A zone is a local name on this machine, and case-sensitive.
  const [address, ...zone] = host.split('%');
  const short = new URL(`tls://[${address}]`).hostname;
  return `tls://${[short.slice(0, -1), ...zone].join('%')}]:${port}`;
}

/**
 * Checks the address of a host on the network: tls://HOST:PORT or nats:ID.
 * @throws UsageError for anything else.
 */
export function checkNetworkUrl(url: string): void {
  if (isNatsHost(url)) parseNatsHost(url);
  else parseTlsUrl(url);
}

/** Gives equivalent addresses of a host the same URL. */
export function canonicalNetworkUrl(url: string): string {
  return isNatsHost(url) ? `nats:${parseNatsHost(url)}` : canonicalTlsUrl(url);
}

/** The URL of an address, always with its port. */
export function formatTlsUrl({ host, port }: TlsAddress): string {
  return `tls://${isIPv6(host) ? `[${host}]` : host}:${port}`;
}
