// A line protocol, pull style: the handler's code follows the dialogue from top to bottom.
import { once } from 'node:events';
import { connect } from 'node:net';
import { StreamRequestHandler, TCPServer } from '@sendall/socketserver';

class Adding extends StreamRequestHandler {
  override async handle() {
    let sum = 0;
    for (let line; (line = await this.rfile.readline()) !== null;) {
      const text = String(line).trim();
      if (text === 'sum') await this.wfile.write(`${sum}\n`);
      else if (Number.isFinite(Number(text))) sum += Number(text);
      else await this.wfile.write(`"${text}" is not a number\n`);
    }
  }
}

await using server = new TCPServer({ host: '127.0.0.1', port: 0 }, Adding);
await server.listen();
void server.serveForever();

const client = connect(server.serverAddress.port, '127.0.0.1');
client.end('1\n20\nthree\n300\nsum\n');
client.on('data', (text) => process.stdout.write(text));
await once(client, 'close');
