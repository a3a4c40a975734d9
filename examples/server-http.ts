// An HTTP/1.0 toy: a request line, headers, an answer, the end. Not for production: no chunks, and only lines are
// limited.
import { get } from 'node:http';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { StreamRequestHandler, serve } from '@sendall/socketserver';

class Http extends StreamRequestHandler {
  override async handle() {
    const [method, path] = String(await this.rfile.readline()).split(' ');
    for (let line; (line = await this.rfile.readline()) !== null && String(line).trim() !== '';);
    const known = method === 'GET' && path === '/';
    const body = known ? 'It works.\n' : 'There is only GET /.\n';
    await this.wfile.write(
      `HTTP/1.0 ${known ? '200 OK' : '404 Not Found'}\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
  }
}

await using server = await serve({ host: '127.0.0.1', port: 0 }, Http);
const { port } = server.serverAddress;
for (const path of ['/', '/missing']) {
  const [answer] = (await once(get({ host: '127.0.0.1', port, path }), 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of answer) text += String(chunk);
  console.log(`${path}: ${answer.statusCode} ${text.trim()}`);
}
