/** Addresses of stream servers: parsing and printing. */

/** The address of a stream server. */
export type Address = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * Reads `HOST:PORT`, `[IPV6]:PORT`, `:PORT` or `PORT` (both 127.0.0.1), `unix:PATH`.
 * @throws Error that says which forms are allowed
 */
export function parseAddress(value: string): Address {
  if (value.startsWith('unix:')) {
    const path = value.slice(5);
    if (path === '') throw new Error('"unix:" needs a path: unix:PATH');
    return { path };
  }
  const match = /^(?:(?:\[([^\]]+)\]|([^:[\]]*)):)?(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (!match || port > 65535) {
    throw new Error(`"${value}" is not an address: expected HOST:PORT, [IPV6]:PORT, PORT or unix:PATH`);
  }
  return { host: match[1] ?? (match[2] || '127.0.0.1'), port };
}

export function formatAddress(address: Address): string {
  if ('path' in address) return `unix:${address.path}`;
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** A peer's address as sockets report it (a Unix peer has none). */
export function peerAddress(socket: { remoteAddress?: string | undefined; remotePort?: number | undefined }): string {
  if (socket.remoteAddress === undefined || socket.remotePort === undefined) return 'unix';
  return formatAddress({ host: socket.remoteAddress, port: socket.remotePort });
}
