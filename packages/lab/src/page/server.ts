/** Serves the page and its WebSocket, only to this machine and to holders of the token. */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Lang } from '../lang.js';
import { PageSession } from './session.js';

const HOST = '127.0.0.1';
/** The page for the browser, built by `npm run build` from the folder `page`. */
const assets = new URL('../browser/', import.meta.url);
const TYPES: Record<string, string> = {
  html: 'text/html',
  css: 'text/css',
  js: 'text/javascript',
  svg: 'image/svg+xml',
};
const NAMES = /^[a-z-]+\.(html|css|js|svg)$/;
/** Bytes that may wait for a page that does not keep up. */
const MOST_BUFFERED = 4 << 20;
const LARGEST_REQUEST = 64 << 10;

export interface PageOptions {
  /** The port of 127.0.0.1, the only address. @default 0 (any free port) */
  port?: number;
  /** The page's initial language. @default 'en' */
  lang?: Lang;
  /** Pages open at the same time. @default 8 */
  maxPages?: number;
}

export interface Page extends AsyncDisposable {
  /** The URL of the page. Its path contains the token of this start; other paths get no page. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Serves the lab's page. Its requests open sockets on this machine, so only this page may send them: the server listens
 * on loopback only, every request and the WebSocket carry a random token of this start in their path, the Host header
 * must be exactly ours (not a name that an attacker points at 127.0.0.1), and an Origin must be ours too.
 */
export async function servePage({ port = 0, lang = 'en', maxPages = 8 }: PageOptions = {}): Promise<Page> {
  const token = randomBytes(24).toString('base64url');
  const server = createServer({ maxHeaderSize: 16 << 10 }, (request, response) => void answer(request, response));
  const sockets = new WebSocketServer({ noServer: true, maxPayload: LARGEST_REQUEST, perMessageDeflate: false });
  server.listen(port, HOST);
  await once(server, 'listening');
  const authority = `${HOST}:${(server.address() as AddressInfo).port}`;
  const origin = `http://${authority}`;

  /** The path after the token; `undefined` when the request must not be answered. */
  const permitted = (request: IncomingMessage, originNeeded: boolean): string | undefined => {
    if (request.method !== 'GET' || request.headers.host !== authority) return undefined;
    const from = request.headers.origin;
    if (from === undefined ? originNeeded : from !== origin) return undefined;
    const [, given = '', name = '', ...rest] = (request.url ?? '').split('?', 1)[0]!.split('/');
    return rest.length === 0 && sameToken(given, token) ? name : undefined;
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    secure(response, authority);
    const name = permitted(request, false);
    if (name === undefined) {
      response
        .writeHead(403, { 'content-type': 'text/plain; charset=utf-8' })
        .end('open the address that wirelab page printed\n');
      return;
    }
    const file = name === '' ? 'index.html' : name;
    try {
      if (!NAMES.test(file)) throw new Error('no such file');
      const body = await readFile(new URL(file, assets));
      const type = TYPES[file.slice(file.lastIndexOf('.') + 1)]!;
      response.writeHead(200, { 'content-type': `${type}; charset=utf-8` });
      response.end(file === 'index.html' ? body.toString().replace('<html lang="en"', `<html lang="${lang}"`) : body);
    } catch {
      response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end('there is no such file\n');
    }
  };

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => {});
    if (permitted(request, true) !== 'socket' || sockets.clients.size >= maxPages) {
      // A client that keeps its side open must not keep the connection.
      socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', () => socket.destroy());
      return;
    }
    sockets.handleUpgrade(request, socket, head, (page) => attend(page, sessions));
  });

  const sessions = new Set<PageSession>();
  const close = async () => {
    for (const page of sockets.clients) page.terminate();
    server.close();
    server.closeAllConnections();
    await Promise.all([...sessions].map((session) => session.close()));
  };
  return { url: `${origin}/${token}/`, close, [Symbol.asyncDispose]: close };
}

/** One page: its requests go to a session, which ends with it. */
function attend(page: WebSocket, sessions: Set<PageSession>): void {
  const session = new PageSession((message) => {
    // An answer is waited for: only live events are skipped.
    const isSkipped = !('id' in message) && page.bufferedAmount > MOST_BUFFERED;
    if (page.readyState !== page.OPEN || isSkipped) return false;
    page.send(JSON.stringify(message));
    return true;
  });
  sessions.add(session);
  page.on('message', (data, binary) => {
    if (binary) session.refuse('a request must be text, not bytes');
    else session.request((data as Buffer).toString());
  });
  page.on('error', () => {});
  page.on('close', () => {
    sessions.delete(session);
    void session.close();
  });
}

function secure(response: ServerResponse, authority: string): void {
  const headers = {
    'content-security-policy': `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws://${authority}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    'cross-origin-opener-policy': 'same-origin',
    'cache-control': 'no-store',
  };
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
}

function sameToken(given: string, token: string): boolean {
  const left = Buffer.from(given);
  const right = Buffer.from(token);
  return left.length === right.length && timingSafeEqual(left, right);
}
