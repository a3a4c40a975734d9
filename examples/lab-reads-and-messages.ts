// A proxy that observes which read of a client's bytes carried which messages.
import { once } from 'node:events';
import { connect } from 'node:net';
import { lengthPrefixed } from '@sendall/framing';
import { Inspector, startProxy } from '@sendall/lab';
import { MessageRequestHandler, serve } from '@sendall/socketserver';

class Echo extends MessageRequestHandler {
  static override readonly framing = 'u32be';
  override onMessage(message: Buffer): void {
    this.send(message);
  }
}

const server = await serve({ host: '127.0.0.1', port: 0 }, Echo);
const inspector = new Inspector({ framing: 'u32be' }, (event) => {
  if (event.event !== 'read' || event.direction !== 'up') return;
  const { length, messages, partial } = event;
  console.log(`read of ${length} bytes: ${messages.length} messages, ${partial?.have ?? 0} bytes of the next`);
});
const begun = performance.now();
const proxy = await startProxy({
  listen: { host: '127.0.0.1', port: 0 },
  to: server.serverAddress,
  onEvent: (event) => inspector.see(event, performance.now() - begun),
});

const encoder = lengthPrefixed().encoder();
const client = connect({ ...(proxy.address as { host: string; port: number }), noDelay: true });
const bytes = encoder.encodeAll(['hello', 'world', 'egon']);
client.write(bytes.subarray(0, 20)); // two messages and two bytes of the third
await once(client, 'data');
client.write(bytes.subarray(20));
await once(client, 'data');

client.destroy();
await proxy.close();
await server.shutdown();
