/** A path between two machines that can be cut, and that can go silent without closing. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as rest } from 'node:timers/promises';

/** Leads to `port` of this machine. */
export async function cable(port: number) {
  const sockets: Set<Socket> = new Set();
  /** Ends of connections that carry nothing any more, not even their end. */
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
    /** Connections of now go silent for good; neither side is told. New ones work. */
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
