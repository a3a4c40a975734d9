// The Language Server Protocol over stdio: JSON behind a Content-Length header. The client starts itself as the server
// (the argument tells them apart) and asks for its name.
import { spawn } from 'node:child_process';
import { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { contentLength, framed } from '@sendall/framing';

interface Message {
  id?: number;
  method?: string;
  result?: unknown;
}

if (process.argv[2] === 'server') {
  const link = framed(Duplex.from({ readable: process.stdin, writable: process.stdout }), contentLength());
  for await (const frame of link) {
    const { id, method } = JSON.parse(String(frame)) as Message;
    if (method === 'exit') break;
    link.send(JSON.stringify({ jsonrpc: '2.0', id, result: { serverInfo: { name: `answer to ${method}` } } }));
  }
  await link.close();
} else {
  const server = spawn(process.execPath, [fileURLToPath(import.meta.url), 'server'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const link = framed(Duplex.from({ readable: server.stdout, writable: server.stdin }), contentLength());
  link.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: {} }));
  const answer = JSON.parse(String(await link.next())) as Message;
  console.log(JSON.stringify(answer.result));
  link.send(JSON.stringify({ jsonrpc: '2.0', method: 'exit' }));
  await link.close();
}
