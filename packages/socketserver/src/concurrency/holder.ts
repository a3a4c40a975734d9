/** Holds the listening address for workers that accept by themselves. */
import { lookup } from 'node:dns/promises';
import net, { type Server } from 'node:net';
import { constants } from 'node:os';
import type { Address, BoundAddress, PathAddress } from '../address.js';
import { bindWithMode, checkPathLength, clearPath, OwnedPath, probeStream } from '../transports/endpoint.js';
import { listenError, SocketServerError } from '../errors.js';
import { createServerHandle, REUSE_PORT_FLAG, type ServerHandle } from '../node-internals.js';

/**
 * A bound socket that this thread holds and never accepts from. Workers do, with descriptors of their own for it, or
 * (SO_REUSEPORT) with sockets of their own on its port. It keeps the address when all of them are dead, and in the
 * first case the clients that wait in the kernel's queue too.
 */
export class Holder {
  readonly fd: number;
  readonly address: BoundAddress;
  readonly #handle: ServerHandle | undefined;
  readonly #path: OwnedPath | undefined;
  #lent = 0;
  #closed = false;

  private constructor(fd: number, address: BoundAddress, handle?: ServerHandle, path?: OwnedPath) {
    this.fd = fd;
    this.address = address;
    this.#handle = handle;
    this.#path = path;
  }

  static async bind(address: Address, reusePort = false): Promise<Holder> {
    if ('fd' in address) return new Holder(address.fd, address);
    const create = createServerHandle;
    if (create === undefined)
      throw new SocketServerError('UNSUPPORTED', 'this Node cannot share a listening socket between threads');
    if ('path' in address) {
      checkPathLength(address);
      await clearPath(address, probeStream);
      const handle = open(address, () => withMode(address, () => create(address.path, -1, -1)));
      return new Holder(handle.fd, address, handle, new OwnedPath(address.path));
    }
    const { host, port } = await resolve(address);
    const family = host?.includes(':') === false ? 4 : 6;
    const handle = open(address, () => create(host, port, family, undefined, reusePort ? REUSE_PORT_FLAG : 0));
    const name: { address?: string; port?: number } = {};
    // libuv keeps a failure of bind(2) for the next call.
    open(address, () => handle.getsockname(name) || handle);
    return new Holder(handle.fd, { host: name.address!, port: name.port! }, handle);
  }

  /** Keeps the number from being given to something else until what this returns is called. */
  lend(): () => void {
    this.#lent++;
    return () => {
      this.#lent--;
      if (this.#closed) this.#closeUnlessLent();
    };
  }

  close(): void {
    this.#closed = true;
    this.#closeUnlessLent();
  }

  #closeUnlessLent(): void {
    if (this.#lent > 0) return;
    if (this.#path === undefined) this.#handle?.close();
    else this.#path.closeWith(() => this.#handle?.close());
  }
}

function withMode(address: PathAddress, bind: () => ServerHandle | number): ServerHandle | number {
  let handle!: ServerHandle | number;
  bindWithMode(address, () => (handle = bind()));
  return handle;
}

/** The call gives an error number instead of a handle when it fails. */
function open(address: Address, bind: () => ServerHandle | number): ServerHandle {
  const handle = bind();
  if (typeof handle !== 'number') return handle;
  const code = Object.entries(errorNumbers).find(([, number]) => number === -handle)?.[0] ?? `errno ${-handle}`;
  throw listenError(Object.assign(new Error(`bind: ${code}`), { code }), address);
}

const errorNumbers: Record<string, number> = constants.errno;

/** Host names are looked up first, as `listen()` would. */
async function resolve(address: { host?: string; port: number }): Promise<{ host: string | null; port: number }> {
  if (address.host === undefined) {
    // The dual-stack address, or IPv4 alone where there is no IPv6: what Node's listen() does, found out by doing it.
    const probe: Server = net.createServer();
    const family = await new Promise<string | null>((found) => {
      probe.once('error', () => found('0.0.0.0'));
      probe.listen(0, () => found((probe.address() as net.AddressInfo).address));
    });
    probe.close();
    return { host: family, port: address.port };
  }
  try {
    return { host: (await lookup(address.host)).address, port: address.port };
  } catch (error) {
    throw listenError(error, address);
  }
}
