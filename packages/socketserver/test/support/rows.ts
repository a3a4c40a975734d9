import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net, { type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import {
  TCPServer,
  TLSServer,
  UDPServer,
  UnixDatagramServer,
  UnixSeqpacketServer,
  UnixStreamServer,
  type Address,
  type BaseServer,
  type BoundAddress,
  type BoundHost,
  type BoundPath,
  type Concurrency,
  type HandlerClass,
  type Server,
  type ServerOptions,
} from '@sendall/socketserver';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import { certificate } from './certificate.js';
import { patience, until } from '../../../../test/support/waits.js';

const peer = fileURLToPath(new URL('peer.py', import.meta.url));

export type Transport = 'tcp' | 'tls' | 'unix' | 'udp' | 'unix-datagram' | 'unix-seqpacket';

type BoundOf<T extends Transport> = T extends 'tcp' | 'tls' | 'udp' ? BoundHost : BoundPath;

/** One line of the contract's table. */
export interface Row {
  name: string;
  transport: Transport;
  mode: 'inline' | 'threads' | 'processes';
  concurrency: Concurrency;
}

const transports: Transport[] = ['tcp', 'tls', 'unix', 'udp', 'unix-datagram', 'unix-seqpacket'];
const modes: [string, Row['mode'], Concurrency][] = [
  ['inline', 'inline', 'inline'],
  ['threads', 'threads', { mode: 'threads', workers: 2 }],
  ['threads on one socket', 'threads', { mode: 'threads', workers: 2, balance: 'kernel' }],
  ['processes', 'processes', { mode: 'processes', workers: 2 }],
];

export const rows: Row[] = transports
  .flatMap((transport) =>
    modes.map(([label, mode, concurrency]) => ({ name: `${transport}, ${label}`, transport, mode, concurrency })),
  )
  .filter(({ transport, name }) => !name.endsWith('one socket') || ['tcp', 'tls', 'unix'].includes(transport))
  .filter(({ transport, mode }) => transport !== 'unix-seqpacket' || mode === 'inline');

export const streamRows = rows.filter(({ transport }) => ['tcp', 'tls', 'unix'].includes(transport));
export const workerRows = streamRows.filter(({ mode }) => mode !== 'inline');

const classes = {
  tcp: TCPServer,
  tls: TLSServer,
  unix: UnixStreamServer,
  udp: UDPServer,
  'unix-datagram': UnixDatagramServer,
  'unix-seqpacket': UnixSeqpacketServer,
};

/** A folder that goes with the test. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ss-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function addressFor(transport: Transport): Address {
  return transport.startsWith('unix') ? { path: join(folder(), 'socket') } : { host: '127.0.0.1', port: 0 };
}

export function optionsFor(transport: Transport): ServerOptions {
  return transport === 'tls' ? { tls: certificate } : {};
}

/** No deadline but those that a test asks for: on a busy machine the usual ones pass without a fault. */
const patient: ServerOptions = {
  readTimeout: 0,
  writeTimeout: 0,
  handshakeTimeout: 0,
  pendingTimeout: 0,
  drainTimeout: 0,
};

/** A server of the row's kind that is closed with the test. */
export function make<T extends Transport>(
  row: { transport: T } & Partial<Row>,
  handler: HandlerClass,
  options: ServerOptions = {},
): BaseServer<BoundOf<T>> {
  return closing(makeAt(addressFor(row.transport), row, handler, options));
}

function makeAt<T extends Transport>(
  address: Address,
  row: { transport: T } & Partial<Row>,
  handler: HandlerClass,
  options: ServerOptions,
): BaseServer<BoundOf<T>> {
  const own = {
    ...patient,
    ...optionsFor(row.transport),
    ...(row.concurrency && { concurrency: row.concurrency }),
    ...options,
  };
  const server: BaseServer = new classes[row.transport](address, handler, own);
  return server as BaseServer<BoundOf<T>>;
}

export function closing<S extends Pick<Server, 'shutdown'>>(server: S): S {
  onTestFinished(async () => void (await server.shutdown({ timeout: 0 })));
  return server;
}

/** The same, already serving. */
export async function start<T extends Transport>(
  row: { transport: T } & Partial<Row>,
  handler: HandlerClass,
  options: ServerOptions = {},
): Promise<BaseServer<BoundOf<T>>> {
  const server = make(row, handler, options);
  await server.listen();
  void server.serveForever();
  return server;
}

/** The same, serving all tests of a suite that leave it as it was: workers take long to start. */
export function startOnce<T extends Transport>(
  row: { transport: T } & Partial<Row>,
  handler: HandlerClass,
  options: ServerOptions = {},
): () => BaseServer<BoundOf<T>> {
  let server: BaseServer<BoundOf<T>>;
  let path: string | undefined;
  beforeAll(async () => {
    if (row.transport.startsWith('unix')) path = mkdtempSync(join(tmpdir(), 'ss-'));
    const address = path === undefined ? { host: '127.0.0.1', port: 0 } : { path: join(path, 'socket') };
    server = makeAt(address, row, handler, options);
    await server.listen();
    void server.serveForever();
  });
  afterAll(async () => {
    await server.shutdown({ timeout: 0 });
    if (path !== undefined) rmSync(path, { recursive: true, force: true });
  });
  return () => server;
}

export function connectable(address: BoundAddress): BoundHost | BoundPath {
  if ('fd' in address) throw new Error('a descriptor is no address to connect to');
  return address;
}

/** How a client connects. */
export interface DialOptions {
  allowHalfOpen?: boolean;
  /** Its own address, another than 127.0.0.1. */
  localAddress?: string;
}

/** A client of a stream server; errors end up on its `failure`. */
export class Client {
  readonly socket: Socket;
  text = '';
  failure: NodeJS.ErrnoException | undefined;
  readonly connected: Promise<unknown>;
  readonly closed: Promise<string>;
  #waiting: (() => void)[] = [];

  constructor(server: { serverAddress: BoundAddress }, secure = false, options: DialOptions = {}) {
    const at = { ...connectable(server.serverAddress), ...options };
    this.socket = secure ? tls.connect({ ...at, rejectUnauthorized: false } as tls.ConnectionOptions) : net.connect(at);
    this.connected = new Promise((resolve) => this.socket.once(secure ? 'secureConnect' : 'connect', resolve));
    this.socket.setEncoding('latin1');
    this.socket.on('data', (text: string) => {
      this.text += text;
      this.#wake();
    });
    this.socket.on('error', (error) => (this.failure = error));
    this.closed = new Promise((resolve) => {
      this.socket.once('close', () => {
        this.#wake();
        resolve(this.text);
      });
    });
    onTestFinished(() => void this.socket.destroy());
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Resolves with everything received once that ends with `end`, or when the connection is over. */
  async until(end: string | RegExp): Promise<string> {
    const met = (): boolean => (typeof end === 'string' ? this.text.endsWith(end) : end.test(this.text));
    while (!met() && !this.socket.closed) await new Promise<void>((wake) => this.#waiting.push(wake));
    return this.text;
  }

  /** Sends a line and resolves with the answer's. */
  async ask(line: string): Promise<string> {
    this.text = '';
    this.socket.write(`${line}\n`);
    return (await this.until('\n')).trimEnd();
  }
}

export function dial(server: { serverAddress: BoundAddress }, options?: DialOptions): Client {
  return new Client(server, server instanceof TLSServer, options);
}

/**
 * One question to a server of any transport, from a client of its own; '' when there is no answer. Where none is
 * expected a datagram client waits only a little.
 */
export async function ask(
  server: { serverAddress: BoundAddress },
  row: Pick<Row, 'transport'>,
  text: string,
  ms = patience(5_000),
): Promise<string> {
  const { serverAddress } = server;
  if (row.transport === 'udp' && 'host' in serverAddress) return askUdp(serverAddress, text, ms);
  if ('path' in serverAddress && row.transport !== 'unix') {
    const kind = row.transport === 'unix-datagram' ? 'datagram' : 'seqpacket';
    const { path } = serverAddress;
    const own = kind === 'datagram' ? [`@client-${process.pid}-${Math.random()}`] : [];
    const message = kind === 'datagram' ? text : `${text}\n`;
    const [answer = ''] = await askPython(kind, path, own, [Buffer.from(message).toString('hex')], ms);
    return Buffer.from(answer.startsWith('error') ? '' : answer, 'hex')
      .toString()
      .trimEnd();
  }
  const client = dial(server);
  const answer = await client.ask(text);
  client.socket.end();
  await client.closed;
  return answer;
}

async function askUdp(server: { host: string; port: number }, text: string, ms: number): Promise<string> {
  const socket = createSocket('udp4');
  try {
    socket.send(text, server.port, server.host);
    const [message] = (await Promise.race([once(socket, 'message'), delay(ms)])) as [Buffer];
    return String(message);
  } finally {
    socket.close();
  }
}

async function delay(ms: number): Promise<[string]> {
  await new Promise((resolve) => setTimeout(resolve, ms).unref());
  return [''];
}

/** A Python client: sends each message and collects an answer for each. */
export async function askPython(
  kind: string,
  path: string,
  own: string[],
  messages: string[],
  ms = patience(5_000),
): Promise<string[]> {
  const env = { ...process.env, PEER_TIMEOUT: String(ms / 1000) };
  const child = spawn('python3', [peer, kind, path.replace('\0', '@'), ...own], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env,
  });
  child.stdin.end(messages.map((message) => `${message}\n`).join(''));
  const answers: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) answers.push(line);
  return answers;
}

/** Resolves when `test` holds. */
export async function eventually(test: () => unknown): Promise<void> {
  await until(test, () => String(test));
}

/** How many descriptors this process has open. */
export async function descriptors(): Promise<number> {
  const { readdir } = await import('node:fs/promises');
  return (await readdir('/proc/self/fd')).length;
}
