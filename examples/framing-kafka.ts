// A Kafka-like client: requests and responses are i32be frames that begin with a correlation id, and many are in flight
// at a time. Its broker is a few lines and answers out of order.
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { type Framed, framed, parseFraming } from '@sendall/framing';

const framing = parseFraming('i32be,max=1048576');

class Client {
  readonly #waiting = new Map<number, (answer: string) => void>();
  #nextId = 0;

  constructor(readonly link: Framed) {
    link.onFrame((frame) => {
      const id = frame.readInt32BE(0);
      this.#waiting.get(id)?.(frame.toString('utf8', 4));
      this.#waiting.delete(id);
    });
  }

  request(text: string): Promise<string> {
    const id = this.#nextId++;
    const body = Buffer.alloc(4 + Buffer.byteLength(text));
    body.writeInt32BE(id, 0);
    body.write(text, 4);
    this.link.send(body);
    return new Promise((resolve) => void this.#waiting.set(id, resolve));
  }
}

const broker = createServer(async (socket) => {
  const link = framed(socket, framing);
  for await (const batch of link.batches()) link.sendAll(batch.toReversed());
  await link.close();
}).listen(0, '127.0.0.1');
await once(broker, 'listening');

const client = new Client(framed(connect((broker.address() as AddressInfo).port, '127.0.0.1'), framing));
const answers = await Promise.all(['metadata', 'produce', 'fetch'].map((name) => client.request(name)));
console.log(answers.join(' '));
await client.link.close();
broker.close();
