// RPC with Kafka's framing: a length, then a correlation id. Answers may come in any order; the id names the request.
import { connect } from 'node:net';
import { framed, lengthPrefixed } from '@sendall/framing';
import { MessageRequestHandler, serve, type Connection } from '@sendall/socketserver';

const kafka = lengthPrefixed({ bytes: 4, signed: true, maxFrameLength: 65_536 });

class Rpc extends MessageRequestHandler {
  static override readonly framing = kafka;

  // Nothing is returned, so the next request need not wait for this one.
  override onMessage(message: Buffer, connection: Connection) {
    const id = message.readInt32BE(0);
    const n = Number(message.subarray(4));
    setTimeout(
      () => {
        const header = Buffer.alloc(4);
        header.writeInt32BE(id);
        if (!connection.closed) this.send(Buffer.concat([header, Buffer.from(`${n * n}`)]));
      },
      30 - 10 * n,
    );
  }
}

await using server = await serve({ host: '127.0.0.1', port: 0 }, Rpc);
const link = framed(connect(server.serverAddress.port, '127.0.0.1'), kafka);
for (const n of [1, 2, 3]) {
  const request = Buffer.alloc(5);
  request.writeInt32BE(1000 + n);
  request.write(`${n}`, 4);
  link.send(request);
}
let answers = 0;
for await (const answer of link) {
  console.log(`request ${answer.readInt32BE(0)}: ${String(answer.subarray(4))}`);
  if (++answers === 3) break;
}
await link.close();
