/**
 * The console's server: the page's files, its feed, downloads. It acts as the user who started it, so it listens on this
 * machine only, answers only requests that name it exactly, and does nothing for a socket without the token.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { userInfo } from 'node:os';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { resolveHome, type Home } from '../home.js';
import type { ConnectOptions } from '../index.js';
import { keepNoMemory } from '../internal.js';
import { Access, type Grant } from './access.js';
import { Ahead } from './ahead.js';
import { headersFor, readAssets } from './assets.js';
import type { Context } from './context.js';
import { Fleets } from './fleets.js';
import { failureOf } from './failures.js';
import { admit, REASONS } from './greeting.js';
import { limits as defaults, type ConsoleLimits } from './limits.js';
import { Links } from './links.js';
import { authorityOf, listenError, type ListenAddress } from './address/listen.js';
import { CLOSED, FEED_PATH } from './messages.js';
import { Page } from './page.js';
import { DOWNLOADS, sendOutput, Tickets } from './tickets.js';

export { openInBrowser } from './address/browser.js';
export { parseListen, PORT } from './address/listen.js';

const FORBIDDEN = 'HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';
const PLAIN = { 'content-type': 'text/plain; charset=utf-8' };
/** Milliseconds for a request's header, and between two requests of a connection. */
const HEADER_MS = 10_000;
const BETWEEN_MS = 5000;

export interface ConsoleOptions {
  readonly listen: ListenAddress;
  /** Refuses whatever changes or starts something. @default false */
  readonly readOnly?: boolean;
  /** @default from SENDALL_HOME and the XDG variables */
  readonly home?: Home;
  /** How hosts are reached. */
  readonly connect?: ConnectOptions;
  readonly version: string;
  /** The language that the page begins with. @default what the browser wants */
  readonly lang?: string | undefined;
  readonly limits?: Partial<ConsoleLimits>;
}

export interface Console extends AsyncDisposable {
  /** The address for people; its fragment is the token. */
  readonly url: string;
  readonly token: string;
  /** An address that works once, and soon. */
  newLink(): string;
  /** Closes pages and links; commands go on. */
  close(): Promise<void>;
}

/**
 * Starts serving.
 * @throws SendallError when the port is taken or the page is not built, UsageError when the port is not ours to use.
 */
export async function openConsole(options: ConsoleOptions): Promise<Console> {
  const { listen, readOnly = false, home = resolveHome(), version, lang } = options;
  const limits = { ...defaults, ...options.limits };
  keepNoMemory();
  const assets = readAssets();
  const server = createServer({
    maxHeaderSize: limits.headerBytes,
    headersTimeout: HEADER_MS,
    requestTimeout: HEADER_MS,
  });
  server.keepAliveTimeout = BETWEEN_MS;
  server.maxConnections = limits.connections;
  server.listen(listen.port, listen.host);
  await once(server, 'listening').catch((error: unknown) => {
    throw listenError(error as NodeJS.ErrnoException, listen);
  });
  const authority = authorityOf({ host: listen.host, port: (server.address() as AddressInfo).port });
  const origin = `http://${authority}`;
  const headers = headersFor(authority);

  const connectOptions: ConnectOptions = { home, ...options.connect };
  const access = new Access(limits);
  const tickets = new Tickets(limits);
  const links = new Links(connectOptions, limits);
  const fleets = new Fleets(home, connectOptions, limits);
  const ahead = new Ahead(limits.aheadBytes);
  const context: Context = { home, readOnly, limits, origin, access, tickets, connectOptions, links, fleets, ahead };
  const welcome = {
    version,
    readOnly,
    user: userName(),
    home: home.config,
    lang,
    limits: {
      message: limits.messageBytes,
      requests: limits.requests,
      subscriptions: limits.subscriptions,
      credit: limits.creditBytes,
    },
  };

  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (!isForUs(request, authority, origin)) {
      response.writeHead(403, PLAIN).end('open the address that sendall console printed\n');
      return;
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { ...PLAIN, allow: 'GET, HEAD' }).end('the console answers GET only\n');
      return;
    }
    const [path = ''] = (request.url ?? '').split('?', 1);
    if (path.startsWith(DOWNLOADS) && request.method === 'GET') {
      void download(path, response);
      return;
    }
    const asset = assets.get(path);
    if (asset) response.writeHead(200, { 'content-type': asset.type }).end(asset.body);
    else response.writeHead(404, PLAIN).end('there is no such page\n');
  });

  const download = async (path: string, response: ServerResponse): Promise<void> => {
    const wanted = tickets.redeem(path);
    if (!wanted) {
      response.writeHead(404, PLAIN).end('this download was used, or is too old: ask for it again\n');
      return;
    }
    try {
      await sendOutput(wanted, context, response);
    } catch (error) {
      // A file that looks whole must be whole.
      if (response.headersSent) response.destroy();
      else response.writeHead(502, PLAIN).end(`${failureOf(error).message}\n`);
    } finally {
      tickets.done(wanted);
    }
  };

  const sockets = new WebSocketServer({ noServer: true, maxPayload: limits.messageBytes, perMessageDeflate: false });
  const strangers = new Set<WebSocket>();
  const pages = new Map<WebSocket, Page>();
  /** Pages that have not answered the last ping. */
  const silent = new Set<WebSocket>();

  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => undefined);
    const isOurs = isForUs(request, authority, origin) && request.headers.origin === origin;
    if (!isOurs || request.method !== 'GET' || request.url !== FEED_PATH) {
      // A client that keeps its side open must not keep the connection.
      socket.end(FORBIDDEN, () => socket.destroy());
      return;
    }
    sockets.handleUpgrade(request, socket, head, greet);
  });

  /** Waits until a socket has shown that it has a key. */
  const greet = (socket: WebSocket): void => {
    strangers.add(socket);
    // Others of this machine can connect, too: those who say nothing make room.
    if (strangers.size > limits.strangers) [...strangers][0]!.terminate();
    const late = setTimeout(() => socket.close(CLOSED.noHello, 'no hello came in time'), limits.helloTimeout);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      clearTimeout(late);
      strangers.delete(socket);
      silent.delete(socket);
      pages.get(socket)?.end();
      pages.delete(socket);
    });
    socket.on('pong', () => silent.delete(socket));
    void admit(socket, access).then((admitted) => {
      clearTimeout(late);
      strangers.delete(socket);
      if (socket.readyState !== socket.OPEN) return;
      const isAdmitted = typeof admitted === 'object';
      if (!isAdmitted) socket.close(CLOSED[admitted], REASONS[admitted]);
      else if (pages.size >= limits.pages)
        socket.close(CLOSED.tooManyPages, `${limits.pages} pages are open already (pages)`);
      else if (admitted.only && watchers() >= limits.watchers)
        socket.close(CLOSED.tooManyPages, `${limits.watchers} pages only watch already (watchers)`);
      else attend(socket, admitted);
    });
  };

  const watchers = (): number => [...pages.values()].filter((page) => page.onlyWatches).length;

  const attend = (socket: WebSocket, grant: Grant): void => {
    const page = new Page(socket, context, grant);
    pages.set(socket, page);
    socket.on('message', (data: Buffer, isBinary: boolean) => page.message(isBinary ? '' : data.toString()));
    const { token, only, withdrawn } = grant;
    const leave = (): void => socket.close(CLOSED.token, 'the link for watching was withdrawn');
    withdrawn?.addEventListener('abort', leave, { once: true });
    socket.once('close', () => withdrawn?.removeEventListener('abort', leave));
    page.welcome({ ...welcome, readOnly: readOnly || only !== undefined, token, only });
  };

  const pings = setInterval(() => {
    for (const socket of pages.keys()) {
      if (silent.has(socket)) socket.terminate();
      else {
        silent.add(socket);
        socket.ping();
      }
    }
  }, limits.pingInterval).unref();

  const close = async (): Promise<void> => {
    clearInterval(pings);
    for (const socket of sockets.clients) socket.close(CLOSED.ending, 'the console ends');
    for (const page of pages.values()) page.end();
    server.close();
    await fleets.close();
    await links.close();
    for (const socket of sockets.clients) socket.terminate();
    server.closeAllConnections();
  };

  return {
    url: `${origin}/#${access.token}`,
    token: access.token,
    newLink: () => `${origin}/#${access.newCode()}`,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Names us exactly, as no page does whose own name leads here (DNS rebinding), and comes from no other page. */
function isForUs({ headers }: IncomingMessage, authority: string, origin: string): boolean {
  return headers.host === authority && (headers.origin === undefined || headers.origin === origin);
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // A user without an entry in the password file.
    return String(process.getuid?.() ?? '');
  }
}
