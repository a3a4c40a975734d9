import { spawn } from 'node:child_process';
import { StreamRequestHandler, type Connection } from '@sendall/socketserver';
import { expect, onTestFinished, test } from 'vitest';
import { Echo, MessageEcho, Obedient, ObedientDatagram } from './dist/handlers.js';
import { folder, start } from './support/rows.js';

/** Runs another program's client to its end and gives what it printed. */
async function run(command: string, args: string[], input?: string): Promise<string> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill());
  if (input !== undefined) child.stdin.end(input);
  const printed: Buffer[] = [];
  for await (const chunk of child.stdout) printed.push(chunk as Buffer);
  return Buffer.concat(printed).toString();
}

/** Gives another program's client this input, whose end it does not see, and what it prints until it has as much. */
async function heard(command: string, args: string[], input: string, length: number): Promise<string> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill());
  child.stdin.write(input);
  let printed = '';
  for await (const chunk of child.stdout) {
    printed += String(chunk);
    if (printed.length >= length) break;
  }
  return printed;
}

test("a Python socket client: lines, half-close, the rest, the server's end", async () => {
  class Upper extends StreamRequestHandler {
    override async handle() {
      for (let line; (line = await this.rfile.readline()) !== null;) await this.wfile.write(String(line).toUpperCase());
      await this.wfile.write('bye\n');
    }
  }
  const server = await start({ transport: 'tcp' }, Upper);
  const program = `
import socket, sys
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.sendall(b'one\\ntwo\\n')
f = s.makefile('rb')
print(f.readline(), f.readline())
s.sendall(b'cut')
s.shutdown(socket.SHUT_WR)
print(f.read())
`;
  expect(await run('python3', ['-c', program, String(server.serverAddress.port)])).toBe(
    "b'ONE\\n' b'TWO\\n'\nb'CUTbye\\n'\n",
  );
});

test('an Erlang gen_tcp client with {packet, 4}: messages of many sizes, answered in order', async () => {
  const server = await start({ transport: 'tcp' }, MessageEcho);
  const program = `
    {ok, S} = gen_tcp:connect("127.0.0.1", ${server.serverAddress.port}, [binary, {packet, 4}, {active, false}]),
    Sizes = [0, 1, 2, 1000, 65535, 65536, 300000],
    Sent = [binary:copy(<<X:8>>, N) || {X, N} <- lists:zip(lists:seq(1, 7), Sizes)],
    [ok = gen_tcp:send(S, M) || M <- Sent],
    Back = [begin {ok, M} = gen_tcp:recv(S, 0, 60000), M end || _ <- Sent],
    io:format("~p ~p~n", [Back =:= Sent, [byte_size(M) || M <- Back]]),
    gen_tcp:close(S), halt().`;
  const printed = await run('erl', ['-noshell', '-noinput', '-eval', program], '');
  expect(printed).toBe('true [0,1,2,1000,65535,65536,300000]\n');
});

test.each([
  ['TCP', 'tcp'],
  ['a Unix stream', 'unix'],
] as const)('socat over %s', async (_name, transport) => {
  const { serverAddress: at } = await start({ transport }, Obedient);
  const target = 'path' in at ? `UNIX-CONNECT:${at.path}` : `TCP:127.0.0.1:${at.port}`;
  expect(await run('socat', ['-t', '60', '-', target], 'hello\nworld\n')).toBe('hello\nworld\n');
});

test('socat over UDP', async () => {
  const server = await start({ transport: 'udp' }, ObedientDatagram);
  const target = `UDP:127.0.0.1:${server.serverAddress.port}`;
  expect(await heard('socat', ['-', target], 'datagram', 8)).toBe('datagram');
});

test('socat over Unix datagrams', async () => {
  const server = await start({ transport: 'unix-datagram' }, ObedientDatagram);
  const own = `${folder()}/own`;
  const target = `UNIX-SENDTO:${server.serverAddress.path},bind=${own}`;
  expect(await heard('socat', ['-', target], 'datagram', 8)).toBe('datagram');
});

test('openssl s_client', async () => {
  class Once extends StreamRequestHandler {
    override onData(chunk: Buffer, connection: Connection) {
      connection.write(`got ${String(chunk)}`);
      return 'close';
    }
  }
  const server = await start({ transport: 'tls' }, Once);
  const args = [
    's_client',
    '-quiet',
    '-no_ign_eof',
    '-connect',
    `127.0.0.1:${server.serverAddress.port}`,
    '-servername',
    'localhost',
  ];
  const child = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'ignore'] });
  onTestFinished(() => void child.kill());
  child.stdin.write('a line\n');
  let text = '';
  for await (const chunk of child.stdout) text += String(chunk);
  expect(text).toContain('got a line\n');
});

test('openssl s_client -starttls smtp', async () => {
  const { certificate } = await import('./support/certificate.js');
  class Smtp extends StreamRequestHandler {
    override async handle() {
      await this.wfile.write('220 here\r\n');
      for (let line; (line = await this.rfile.readline()) !== null;) {
        const text = String(line).trim();
        if (text.startsWith('EHLO')) await this.wfile.write('250-here\r\n250 STARTTLS\r\n');
        else if (text === 'STARTTLS') {
          await this.wfile.write('220 go ahead\r\n');
          await this.connection.upgradeTls(certificate);
        } else if (text === 'QUIT') {
          await this.wfile.write('221 bye\r\n');
          return;
        }
      }
    }
  }
  const server = await start({ transport: 'tcp' }, Smtp);
  const args = [
    's_client',
    '-quiet',
    '-ign_eof',
    '-starttls',
    'smtp',
    '-connect',
    `127.0.0.1:${server.serverAddress.port}`,
  ];
  const child = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'ignore'] });
  onTestFinished(() => void child.kill());
  child.stdin.write('QUIT\r\n');
  let text = '';
  for await (const chunk of child.stdout) text += String(chunk);
  expect(text).toContain('221 bye');
});

test('many writes of a Python client that are cut anywhere come back whole', async () => {
  const server = await start({ transport: 'tcp' }, Echo);
  const program = `
import os, socket, sys, threading
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
data = os.urandom(5_000_000)
def send():
    at = 0
    while at < len(data):
        at += s.send(data[at:at + 1 + at % 70000])
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
back = bytearray()
while chunk := s.recv(65536):
    back += chunk
print(back == data)
`;
  expect(await run('python3', ['-c', program, String(server.serverAddress.port)])).toBe('True\n');
});
