/** The control socket: JSON over HTTP, on loopback for this user only, or on a Unix socket that only its owner opens. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { formatAddress, type Address } from '../address.js';
import { canTellUsers, isSameUser } from '../wire/same-user.js';
import { answerControl, type ControlAnswer } from './api.js';
import { ControlError } from './error.js';
import type { Proxies } from './proxies.js';

const HOST = '127.0.0.1';
const MOST_CONNECTIONS = 64;
const LONGEST_REQUEST_MS = 10_000;
const LARGEST_HEADER = 16 << 10;

export interface ControlOptions {
  /** Most bytes of a request's body. @default 1_048_576 */
  readonly requestBytes?: number | undefined;
  /** What GET /version answers. */
  readonly version: string;
}

export const REQUEST_BYTES = 1 << 20;

export interface Control extends AsyncDisposable {
  readonly address: Address;
  readonly close: () => Promise<void>;
}

/**
 * Its requests open sockets as this user. So it listens on 127.0.0.1 or on a Unix socket only; on
 * 127.0.0.1 it serves processes of the same user alone, and nothing that comes from a browser: a page can send requests
 * to any port, but not without headers that say so, nor with our address as its Host under another name.
 * @throws Error when the address is another one, or the system cannot tell whose a connection is
 */
export async function serveControl(proxies: Proxies, listen: Address, options: ControlOptions): Promise<Control> {
  const overTcp = 'port' in listen;
  if (overTcp && listen.host !== HOST) {
    throw new Error(`a control socket is on 127.0.0.1:PORT or unix:PATH, not on ${formatAddress(listen)}`);
  }
  if (overTcp && !(await canTellUsers())) {
    throw new Error('this system does not tell whose a connection is: use --control unix:PATH');
  }
  const ours = new WeakMap<Socket, Promise<boolean>>();
  let authority = '';
  const server = createServer(
    { maxHeaderSize: LARGEST_HEADER, requestTimeout: LONGEST_REQUEST_MS, headersTimeout: LONGEST_REQUEST_MS },
    (request, response) => void respond(request, response),
  );
  server.maxConnections = MOST_CONNECTIONS;
  server.on('connection', (socket: Socket) => {
    if (overTcp) ours.set(socket, sameUser(socket));
  });

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: ControlAnswer;
    try {
      await permit(request, overTcp ? authority : undefined, ours.get(request.socket));
      const body = await bodyOf(request, options.requestBytes ?? REQUEST_BYTES);
      const path = (request.url ?? '').split('?', 1)[0]!;
      answer = await answerControl(proxies, options.version, request.method ?? '', path, body);
    } catch (error) {
      const status = error instanceof ControlError ? error.status : 500;
      answer = { status, body: { error: error instanceof Error ? error.message : String(error), status } };
    }
    if (response.destroyed) return;
    const text = answer.body === undefined ? '' : `${JSON.stringify(answer.body)}\n`;
    response.writeHead(answer.status, {
      ...(text !== '' && { 'content-type': 'application/json' }),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      // What was not read of a refused request must not pass for the next one.
      ...(answer.status >= 400 && { connection: 'close' }),
    });
    response.end(text);
  }

  // A Unix socket gets its mode from the mask, so that it never exists with another one.
  const mask = overTcp ? undefined : process.umask(0o177);
  try {
    server.listen(listen);
  } finally {
    if (mask !== undefined) process.umask(mask);
  }
  await once(server, 'listening');
  const bound = server.address() as AddressInfo | string;
  const address = typeof bound === 'string' ? listen : { host: HOST, port: bound.port };
  authority = formatAddress(address);
  const close = async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return { address, close, [Symbol.asyncDispose]: close };
}

async function sameUser(socket: Socket): Promise<boolean> {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (
    remoteAddress === undefined ||
    remotePort === undefined ||
    localAddress === undefined ||
    localPort === undefined
  ) {
    return false;
  }
  return isSameUser({ address: remoteAddress, port: remotePort }, { address: localAddress, port: localPort }).catch(
    () => false,
  );
}

async function permit(
  { headers }: IncomingMessage,
  authority: string | undefined,
  ours: Promise<boolean> | undefined,
): Promise<void> {
  if (authority !== undefined) {
    const port = authority.slice(HOST.length);
    if (headers.host !== authority && headers.host !== `localhost${port}`) {
      throw new ControlError(403, `the Host header must be ${authority}`);
    }
    if (!(await ours)) throw new ControlError(403, 'this socket serves processes of its own user only');
  }
  const browser = headers.origin !== undefined || headers['sec-fetch-site'] !== undefined;
  if (browser || headers['user-agent']?.startsWith('Mozilla/')) {
    throw new ControlError(403, 'this socket does not serve browsers');
  }
}

async function bodyOf(request: IncomingMessage, most: number): Promise<unknown> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > most) throw new ControlError(413, `a request has at most ${most} bytes`);
    parts.push(part);
  }
  if (length === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(parts).toString()) as unknown;
  } catch {
    throw new ControlError(400, 'bad request body: it is not JSON');
  }
}
