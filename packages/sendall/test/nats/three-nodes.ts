/** Three nats-servers that form a cluster, and ports for one. */
import { createServer, type AddressInfo } from 'node:net';
import { natsServer, type NatsServer } from '../dist/nats-server.js';

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Clients know only the nodes that they are given: nodes tell them of no other. */
export async function threeNodes(): Promise<NatsServer[]> {
  const ports = [await freePort(), await freePort(), await freePort()];
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(', ');
  const config = (port: number, i: number) =>
    `server_name: n${i + 1}\n` +
    `cluster { name: day, listen: "127.0.0.1:${port}", no_advertise: true, routes: [${routes}] }`;
  return await Promise.all(ports.map((port, i) => natsServer({ config: config(port, i) })));
}
