// A handler that needs the CPU, in worker threads: four requests take two cores half the time of one.
import { once } from 'node:events';
import { connect } from 'node:net';
import { threadId } from 'node:worker_threads';
import { isWorker, MessageRequestHandler, ThreadingTCPServer } from '@sendall/socketserver';

export class Primes extends MessageRequestHandler {
  static readonly module = import.meta.url;
  static override readonly framing = 'lines';

  override onMessage(message: Buffer) {
    const limit = Number(message);
    let found = 0;
    for (let n = 2; n < limit; n++) {
      let prime = true;
      for (let d = 2; d * d <= n && prime; d++) prime = n % d !== 0;
      if (prime) found++;
    }
    this.send(`${found} primes below ${limit}, in thread ${threadId}`);
  }
}

// The threads load this module for the class above; only the main thread starts the server.
if (!isWorker) {
  const server = new ThreadingTCPServer({ host: '127.0.0.1', port: 0 }, Primes);
  await server.listen();
  void server.serveForever();
  const { port } = server.serverAddress;
  const answers = Array.from({ length: 4 }, async (_, i) => {
    const client = connect(port, '127.0.0.1');
    client.write(`${200_000 + i}\n`);
    const [answer] = (await once(client, 'data')) as [Buffer];
    client.end();
    return String(answer).trim();
  });
  for (const answer of await Promise.all(answers)) console.log(answer);
  await server.shutdown();
}
