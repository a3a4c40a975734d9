// The same echo on every transport: one handler for streams, one for datagrams; neither knows its transport.
// (Unix datagrams need Linux and the optional package koffi; without them that part says so.)
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import {
  DatagramRequestHandler,
  serve,
  StreamRequestHandler,
  UnixDatagramServer,
  type Connection,
  type DatagramSocket,
} from '@sendall/socketserver';

class Echo extends StreamRequestHandler {
  override onData(chunk: Buffer, connection: Connection) {
    connection.write(chunk);
  }
}

class EchoDatagram extends DatagramRequestHandler {
  override async handle() {
    await this.reply(this.packet);
  }
}

const local = { host: '127.0.0.1', port: 0 };
const folder = mkdtempSync(join(tmpdir(), 'echo-'));
const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
const request = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost';
execFileSync('openssl', [...request.split(' '), '-keyout', keyFile, '-out', certFile], { stdio: 'ignore' });

const answer = async (client: Socket, text: string) => {
  client.end(text);
  console.log(String((await once(client, 'data'))[0]));
};

await using tcp = await serve(local, Echo);
await answer(connect(tcp.serverAddress), 'over TCP');

await using unix = await serve({ path: join(folder, 'stream'), mode: 0o600 }, Echo);
await answer(connect(unix.serverAddress), 'over a Unix stream');

await using tls = await serve(local, Echo, { tls: { key: readFileSync(keyFile), cert: readFileSync(certFile) } });
const { port } = tls.serverAddress;
await answer(connectTls({ host: '127.0.0.1', port, ca: readFileSync(certFile), servername: 'localhost' }), 'over TLS');

await using udp = await serve(local, EchoDatagram);
const client = createSocket('udp4');
client.send('over UDP', udp.serverAddress.port, '127.0.0.1');
console.log(String((await once(client, 'message'))[0]));
client.close();

// Node has no Unix datagram client, so a second server plays one: the datagram that it receives is the answer.
let answered: (text: string) => void;
const answerOfUnix = new Promise<string>((resolve) => (answered = resolve));
class Print extends DatagramRequestHandler {
  override handle() {
    answered(String(this.packet));
  }
}
try {
  await using server = await serve({ path: join(folder, 'datagram') }, EchoDatagram);
  await using caller = new UnixDatagramServer({ path: join(folder, 'caller') }, Print);
  await caller.listen();
  void caller.serveForever();
  await (caller.socket as DatagramSocket).send(Buffer.from('over Unix datagrams'), server.serverAddress);
  console.log(await answerOfUnix);
} catch (error) {
  console.log((error as Error).message);
}
rmSync(folder, { recursive: true });
