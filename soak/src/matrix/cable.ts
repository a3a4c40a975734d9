/** A path between two machines that can be cut, or go silent without closing. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as rest } from 'node:timers/promises';

/** Forwards to `port` on this machine. */
export async function cable(port: number) {
  const sockets: Set<Socket> = new Set();
  /** Ends of connections that no longer carry anything, not even their end. */
  const dead: Set<Socket> = new Set();
  let silent = false;
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('data', (bytes) => {
        if (silent || dead.has(from)) return;
        if (!to.write(bytes)) from.pause();
      });
      to.on('drain', () => from.resume());
      from
        .on('error', () => undefined)
        .on('close', () => {
          sockets.delete(from);
          if (!dead.delete(from)) to.destroy();
        });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    silent = false;
    dead.clear();
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    cut,
    /** Silences the existing connections for good; neither side learns of it. New ones work. */
    hush() {
      for (const socket of sockets) dead.add(socket);
    },
    async stall() {
      silent = true;
      await rest(2000);
      cut();
    },
    close() {
      server.close();
      cut();
    },
  };
}
