/** Addresses of stream servers: how they are read from the command line and how they are shown. */

/** Where a stream server listens or is reached. */
export type Address = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * Reads `HOST:PORT`, `[IPV6]:PORT`, `:PORT` or `PORT` (both 127.0.0.1), `unix:PATH`.
 * @throws Error that says what was expected
 */
export function parseAddress(value: string): Address {
  if (value.startsWith('unix:')) {
    const path = value.slice(5);
    if (path === '') throw new Error('an address "unix:" needs a path behind it');
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

/** The address of a peer as sockets give it (a Unix peer has none). */
export function peerAddress(socket: { remoteAddress?: string | undefined; remotePort?: number | undefined }): string {
  if (socket.remoteAddress === undefined || socket.remotePort === undefined) return 'unix';
  return formatAddress({ host: socket.remoteAddress, port: socket.remotePort });
}
