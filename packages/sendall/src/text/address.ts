/** Addresses as people write them. Apart from tls.ts, so that reading the list of hosts loads no TLS. */
import { isIPv6 } from 'node:net';
import { UsageError } from '../errors.js';

/** Port of a tls:// address that names none. */
const DEFAULT_PORT = 7433;

export interface TlsAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Reads `tls://HOST[:PORT]`, an IPv6 host in brackets.
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

/** Two addresses that mean the same have the same URL here: small letters, the shortest form of IPv6, the port written. */
export function canonicalTlsUrl(url: string): string {
  const { host, port } = parseTlsUrl(url);
  if (!isIPv6(host)) return formatTlsUrl({ host: host.toLowerCase(), port });
  // A zone is a name of this machine's, and its letters count.
  const [address, ...zone] = host.split('%');
  const short = new URL(`tls://[${address}]`).hostname;
  return `tls://${[short.slice(0, -1), ...zone].join('%')}]:${port}`;
}

/** The URL of an address, the port always written. */
export function formatTlsUrl({ host, port }: TlsAddress): string {
  return `tls://${isIPv6(host) ? `[${host}]` : host}:${port}`;
}
