// Chat: many clients on a ThreadingTCPServer, and one operator who answers each by name. With a port (node
// server-chat-threads.js 6060) it is a real server: clients connect with `nc 127.0.0.1 6060`, the operator answers at
// this terminal with "name: text". Without arguments it plays a short scene and ends.
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { BroadcastChannel } from 'node:worker_threads';
import { isWorker, StreamRequestHandler, ThreadingTCPServer } from '@sendall/socketserver';

interface Said {
  to?: string;
  from?: string;
  text: string;
}

function hear(channel: BroadcastChannel, heard: (said: Said) => unknown) {
  channel.addEventListener('message', (event) => heard((event as unknown as { data: Said }).data));
}

/** Threads share no memory, so the lines of clients and operator go over a channel that all threads receive. */
export class Guest extends StreamRequestHandler {
  static readonly module = import.meta.url;

  override async handle() {
    const channel = new BroadcastChannel('chat');
    try {
      this.connection.write('your name? ');
      const name = String((await this.rfile.readline()) ?? 'nobody').trim();
      hear(channel, ({ to, text }) => to === name && this.connection.write(`operator: ${text}\n`));
      channel.postMessage({ from: name, text: 'is here' } satisfies Said);
      for (let line; (line = await this.rfile.readline()) !== null;)
        channel.postMessage({ from: name, text: String(line).trim() } satisfies Said);
    } finally {
      channel.close();
    }
  }
}

if (!isWorker) {
  const [port = '0'] = process.argv.slice(2);
  const server = new ThreadingTCPServer({ host: '127.0.0.1', port: Number(port) }, Guest, { readTimeout: 0 });
  await server.listen();
  void server.serveForever();
  const channel = new BroadcastChannel('chat');
  if (port === '0') await scene(server.serverAddress.port);
  else await operate();
  channel.close();
  await server.shutdown({ timeout: 1000 });

  async function operate() {
    hear(channel, ({ from, text }) => from !== undefined && console.log(`${from}: ${text}`));
    for await (const line of createInterface({ input: process.stdin })) {
      const [, to, text] = /^(\S+): (.*)$/.exec(line) ?? [];
      if (to === undefined || text === undefined) console.log('write "name: text"');
      else channel.postMessage({ to, text } satisfies Said);
    }
  }

  /** Two clients, an operator who greets each, and the lines that the clients read. */
  async function scene(at: number) {
    hear(channel, ({ from, text }) => {
      if (from === undefined) return;
      console.log(`${from}: ${text}`);
      if (text !== 'is here') channel.postMessage({ to: from, text: `hello ${from}` } satisfies Said);
    });
    await Promise.all(['ann', 'ben'].map((name) => guest(connect(at, '127.0.0.1'), name)));
  }
}

async function guest(client: Socket, name: string) {
  client.write(`${name}\ngood day\n`);
  let text = '';
  for await (const chunk of client) {
    text += String(chunk);
    if (text.endsWith(`hello ${name}\n`)) break;
  }
  console.log(`${name} read: ${text.split('\n').at(-2)}`);
}
