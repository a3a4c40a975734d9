/** Three nats-servers that form a cluster. */
import { heldPort } from '../dist/held-port.js';
import { natsServer, type NatsServer } from '../dist/nats-server.js';

/** Clients know only the nodes that they are given: nodes tell them of no other. */
export async function threeNodes(): Promise<NatsServer[]> {
  const ports = [await heldPort(), await heldPort(), await heldPort()];
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(', ');
  const config = (port: number, i: number) =>
    `server_name: n${i + 1}\n` +
    `cluster { name: day, listen: "127.0.0.1:${port}", no_advertise: true, routes: [${routes}] }`;
  return await Promise.all(ports.map((port, i) => natsServer({ config: config(port, i) })));
}
