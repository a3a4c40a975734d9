// A handler that may crash its process, in child processes: a crash costs its own connection, and a new child takes
// over.
import { connect } from 'node:net';
import { once } from 'node:events';
import { ForkingTCPServer, isWorker, StreamRequestHandler } from '@sendall/socketserver';

export class Risky extends StreamRequestHandler {
  static readonly module = import.meta.url;

  override async handle() {
    const line = String(await this.rfile.readline()).trim();
    if (line === 'crash') process.kill(process.pid, 'SIGKILL');
    await this.wfile.write(`${line} from a child\n`);
  }
}

if (!isWorker) {
  const server = new ForkingTCPServer({ host: '127.0.0.1', port: 0 }, Risky, {
    concurrency: { mode: 'processes', workers: 2 },
  });
  server.on('worker', ({ state, signal }) => state === 'exit' && signal && console.log(`a child died of ${signal}`));
  await server.listen();
  void server.serveForever();
  const { port } = server.serverAddress;
  for (const line of ['hello', 'crash', 'hello again']) {
    const client = connect(port, '127.0.0.1');
    let answer = '';
    client.on('data', (text) => (answer += String(text)));
    client.write(`${line}\n`);
    await once(client, 'close');
    console.log(`${line}: ${answer.trim() || 'no answer'}`);
  }
  await server.shutdown();
}
