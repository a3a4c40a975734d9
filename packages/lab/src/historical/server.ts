/** The historical command servers, over TCP and UDP, for processes of the same user. */
import {
  DatagramRequestHandler,
  serve,
  UDPServer,
  type BoundHost,
  type Connection,
  type Server,
} from '@sendall/socketserver';
import type { Encoding } from '../encoding.js';
import { CommandRefusedError, LARGEST_COMMAND } from './command.js';
import { lengthReady } from './length-ready.js';
import { Line } from './line.js';
import type { Protocol, Run } from './protocol.js';
import { recv } from './recv.js';
import { whyRefuse } from './refuse.js';
import { whyNotOurs } from './datagram-sender.js';
import { canTellUsers, isSameUser } from '../wire/same-user.js';
import { runShell } from './shell.js';
import { LARGEST_LENGTH, structI } from './struct-i.js';
import { transcode } from './transcode.js';
import { datagramAnswer } from './udp.js';

export const streamProtocols: readonly Protocol[] = [recv, lengthReady, structI];
export const protocolNames = [...streamProtocols.map((protocol) => protocol.name), 'udp'] as const;

/** An event of a command server: a client, a command, or a refusal. */
export type CommandEvent =
  | { readonly type: 'open' | 'close'; readonly client: string }
  | { readonly type: 'command'; readonly client: string; readonly command: string }
  | { readonly type: 'refused'; readonly client: string; readonly reason: string };

/** The port and encoding of a command server. */
export interface CommandServerOptions {
  /** `recv`, `length-ready`, `struct-i` or `udp`. */
  protocol: string;
  /** The port of 127.0.0.1, the only address. @default 0 (any free port) */
  port?: number;
  /**
   * The encoding of answers: of 执行成功, and of command output, which is converted if it is in the other encoding.
   * @default undefined (执行成功 in GBK as in the tutorial, and command output unchanged)
   */
  encoding?: Encoding | undefined;
  /** Most bytes of an answer that is preceded by its length. @default 2147483647 (the limit of `struct-i`) */
  maxAnswer?: number;
  /** Clients (for udp: commands) at the same time. @default 64 */
  maxClients?: number;
  onEvent?: (event: CommandEvent) => void;
}

/** A server of one of the historical protocols. */
export interface CommandServer extends AsyncDisposable {
  readonly port: number;
  /** Stops the server, and every command still running. */
  close(): Promise<void>;
}

const HOST = '127.0.0.1';

/**
 * The tutorial's command servers, byte for byte, without their known faults. Like the originals they run every command
 * they get, so they listen on loopback only, serve only processes of the same user, and refuse anything a browser can
 * send.
 *
 * @throws Error when the system does not reveal who owns a connection
 */
export async function serveCommands(options: CommandServerOptions): Promise<CommandServer> {
  if (!(await canTellUsers())) {
    throw new Error(
      'this system does not say which user a connection belongs to (/proc/net/tcp), so commands are not served',
    );
  }
  const stopping = new AbortController();
  const run: Run = (command) => {
    const output = runShell(command, stopping.signal);
    return options.encoding ? transcode(output, options.encoding) : output;
  };
  const protocol = streamProtocols.find((each) => each.name === options.protocol);
  const server = protocol ? await serveStream(protocol, run, options) : await serveDatagrams(run, options);
  const close = async () => {
    stopping.abort();
    await server.shutdown({ timeout: 1000 });
  };
  const { port } = server.serverAddress;
  return { port, close, [Symbol.asyncDispose]: close };
}

function serveStream(protocol: Protocol, run: Run, options: CommandServerOptions): Promise<Server<BoundHost>> {
  const { encoding = 'gbk', maxAnswer = LARGEST_LENGTH, maxClients = 64, onEvent = () => {} } = options;
  const handle = async (connection: Connection) => {
    const peer = connection.peer as { host: string; port: number };
    const client = `${peer.host}:${peer.port}`;
    const local = connection.local as { host: string; port: number };
    const sameUser = await isSameUser(
      { address: peer.host, port: peer.port },
      { address: local.host, port: local.port },
    );
    if (!sameUser) {
      onEvent({ type: 'refused', client, reason: 'it is not a process of this user' });
      connection.reset();
      return;
    }
    onEvent({ type: 'open', client });
    const line = new Line(
      () => connection.read(),
      async (bytes) => {
        if (!connection.write(bytes)) await connection.drain();
      },
    );
    const noted: Run = (command) => {
      onEvent({ type: 'command', client, command });
      return run(command);
    };
    try {
      await protocol.serve(line, noted, { encoding, maxAnswer });
    } catch (error) {
      if (error instanceof CommandRefusedError) onEvent({ type: 'refused', client, reason: error.message });
      else if (!connection.closed) throw error;
    } finally {
      onEvent({ type: 'close', client });
    }
  };
  return serve({ host: HOST, port: options.port ?? 0 }, handle, { maxConnections: maxClients, readTimeout: 0 });
}

async function serveDatagrams(run: Run, options: CommandServerOptions): Promise<Server<BoundHost>> {
  const { encoding = 'gbk', maxClients = 64, onEvent = () => {} } = options;
  class Handler extends DatagramRequestHandler {
    override async handle(): Promise<void> {
      const peer = this.clientAddress as { host: string; port: number };
      const client = `${peer.host}:${peer.port}`;
      const refuse = (reason: string) => onEvent({ type: 'refused', client, reason });
      const stranger = await whyNotOurs({ address: peer.host, port: peer.port });
      if (stranger !== undefined) return refuse(stranger);
      if (this.packet.length === 0 || this.packet.length > LARGEST_COMMAND) return refuse('no command has this size');
      const reason = whyRefuse(this.packet);
      if (reason !== undefined) return refuse(`not run: ${reason}`);
      const command = this.packet.toString();
      onEvent({ type: 'command', client, command });
      await this.reply(await datagramAnswer(run(command), encoding));
    }
  }
  const server = new UDPServer({ host: HOST, port: options.port ?? 0 }, Handler, { maxConnections: maxClients });
  await server.listen();
  void server.serveForever();
  return server;
}
