// The same chat in twenty lines: one loop, so a Map can hold the clients; a framing makes whole messages.
import { once } from 'node:events';
import { connect } from 'node:net';
import { framed, lines } from '@sendall/framing';
import { serve, type Connection } from '@sendall/socketserver';

const guests = new Map<string, Connection>();
const operator = (name: string, text: string) => guests.get(name)?.send(`operator: ${text}, ${name}`);

await using server = await serve(
  { host: '127.0.0.1', port: 0 },
  async (connection) => {
    let name: string | undefined;
    for await (const message of connection.messages) {
      if (name === undefined) guests.set((name = String(message)), connection);
      else operator(name, `you said "${String(message)}"`);
    }
    if (name !== undefined) guests.delete(name);
  },
  { framing: lines() },
);

for (const name of ['ann', 'ben']) {
  const socket = connect(server.serverAddress.port, '127.0.0.1');
  const link = framed(socket, lines());
  link.send(name);
  link.send('good day');
  for await (const message of link) {
    console.log(String(message));
    break;
  }
  const closed = once(socket, 'close');
  await link.close();
  await closed;
}
