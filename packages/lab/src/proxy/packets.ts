/** The packets of a capture for the events of a proxy, a record or a capture. */
import { isIP, isIPv6 } from 'node:net';
import { parseAddress } from '../address.js';
import { Conversation, datagramRecord } from '../capture/conversation.js';
import type { Endpoint } from '../capture/ip-packet.js';
import type { Direction } from '../faults/fault.js';
import type { ProxyEvent } from './proxy.js';

/** Ports of ends that have none, such as those of Unix sockets. */
const FIRST_UNNAMED_PORT = 40_000;
const UNNAMED_PORTS = 20_000;
const UNNAMED_SERVER = 1;

type Followed =
  | { readonly conversation: Conversation; readonly ended: Set<Direction>; readonly captured: boolean }
  | { readonly ends: Record<Direction, Endpoint> };

/**
 * Each connection gets a handshake, segments with the bytes of its reads, acknowledgements and an end, at the times of
 * the events. Only the bytes and their times were seen; the rest is made up as TCP would have it.
 */
export class Packets {
  readonly #begunAt: () => number;
  readonly #to: string | undefined;
  readonly #followed = new Map<number, Followed>();

  /**
   * @param begunAt milliseconds since 1970 at time 0 of the events; asked at each event
   * @param to the server, unless the events name it
   */
  constructor(begunAt: () => number, to: string | undefined) {
    this.#begunAt = begunAt;
    this.#to = to;
  }

  /** The records that the event adds to the capture. */
  see(event: ProxyEvent, atMs: number): readonly Buffer[] {
    if (!('connection' in event)) return [];
    const at = this.#begunAt() + atMs;
    const { connection } = event;
    if (event.type === 'open') {
      const [up, down] = endpoints(event.client, event.server ?? this.#to, connection);
      if (event.protocol === 'udp') {
        this.#followed.set(connection, { ends: { up, down } });
        return [];
      }
      const conversation = new Conversation(up, down);
      this.#followed.set(connection, { conversation, ended: new Set(), captured: event.server !== undefined });
      return conversation.open(at);
    }
    const followed = this.#followed.get(connection);
    if (!followed) return [];
    if (event.type === 'close') this.#followed.delete(connection);
    if ('ends' in followed) {
      if (event.type !== 'read') return [];
      const { up, down } = followed.ends;
      const [from, to] = event.direction === 'up' ? [up, down] : [down, up];
      return [datagramRecord(at, from, to, event.bytes)];
    }
    const { conversation, ended, captured } = followed;
    switch (event.type) {
      case 'read':
        return conversation.data(at, event.direction, event.bytes);
      case 'end':
        ended.add(event.direction);
        return conversation.end(at, event.direction);
      case 'wire':
        if (event.what === 'gap') conversation.skip(event.direction, event.length);
        return [];
      case 'close':
        // A proxy closes both sides, and the end that no side has sent is one that it made.
        if (event.reset) return conversation.reset(at, event.reset);
        return !captured && ended.size < 2 ? conversation.reset(at, ended.has('down') ? 'up' : 'down') : [];
      default:
        return [];
    }
  }
}

/** The ends of a connection; names and Unix sockets become addresses of this machine. */
function endpoints(
  client: string,
  server: string | undefined,
  connection: number,
): [client: Endpoint, server: Endpoint] {
  const from = endpoint(client);
  const to = endpoint(server);
  const six = isIPv6((from ?? to)?.address ?? '');
  const here = six ? '::1' : '127.0.0.1';
  const there = to && isIPv6(to.address) === six ? to : { address: here, port: to?.port ?? UNNAMED_SERVER };
  return [from ?? { address: here, port: FIRST_UNNAMED_PORT + (connection % UNNAMED_PORTS) }, there];
}

function endpoint(address: string | undefined): Endpoint | undefined {
  try {
    const parsed = parseAddress(address ?? '');
    if (!('port' in parsed)) return undefined;
    const host = parsed.host.replace(/^::ffff:(?=\d+\.)/, '');
    if (isIP(host) === 0) return { address: '127.0.0.1', port: parsed.port };
    return { address: host, port: parsed.port };
  } catch {
    return undefined;
  }
}
