/** Temporary homes and bare TLS servers for the tests of this folder. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import type { AddressInfo, Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { onTestFinished } from 'vitest';
import { resolveHome, type Home } from '../../dist/home.js';
import { loadIdentity, type Identity } from '../../dist/keys/identity.js';

/** An empty home that is removed when the test ends. */
export function newHome(): Home {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return resolveHome({ SENDALL_HOME: folder });
}

/** The content of a home besides its mark. */
export const filesOf = ({ config }: Home): string[] => readdirSync(config).filter((name) => name !== '.sendall');

export async function newIdentity(): Promise<Identity> {
  return loadIdentity(newHome(), { create: true });
}

/** Listens on a free port of the loopback until the test ends; connections are cut then. */
export async function listen(server: Server): Promise<number> {
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(async () => {
    for (const socket of open) socket.destroy();
    await new Promise<unknown>((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** A TLS server; `accept` gets each connection after its handshake. Resolves to its port. */
export function tlsServer(options: TlsOptions, accept: (socket: TLSSocket) => void = () => {}): Promise<number> {
  const server = createServer(options, (socket) => {
    socket.on('error', () => {});
    accept(socket);
  });
  server.on('tlsClientError', () => {});
  return listen(server);
}
