/** What transports share: Unix paths, permission bits, listening. */
import { lstatSync, linkSync, renameSync, statSync, unlinkSync, chmodSync, type BigIntStats } from 'node:fs';
import { connect, type Server } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import type { Address, BoundAddress, DescriptorAddress, PathAddress } from '../address.js';
import { ListenError, listenError } from '../errors.js';

/** The longest Unix path in bytes: 108 in the system's structure, less its NUL. Node cuts longer ones silently. */
const LONGEST_PATH = 107;

export function isAbstract(path: string): boolean {
  return path.startsWith('\0');
}

export function checkPathLength(address: PathAddress): void {
  const bytes = Buffer.byteLength(address.path);
  const longest = isAbstract(address.path) ? LONGEST_PATH + 1 : LONGEST_PATH;
  if (bytes > longest)
    throw new ListenError(
      'ENAMETOOLONG',
      address,
      `the socket path has ${bytes} bytes and may have ${longest}: choose a shorter folder`,
    );
}

/**
 * Makes room for a socket file: removes one without a server behind it, unless `stale` is `fail`.
 * @throws ListenError where the path is taken
 */
export async function clearPath(
  address: PathAddress,
  probe: (path: string) => Promise<'alive' | 'stale' | 'free'>,
): Promise<void> {
  const { path, stale = 'replace' } = address;
  if (isAbstract(path)) return;
  const inUse = (why: string): ListenError =>
    new ListenError('EADDRINUSE', address, `cannot listen on ${path}: ${why}`);
  for (;;) {
    const file = fileAt(path);
    if (file === undefined) return;
    if (!file.isSocket()) throw inUse('there is a file of that name which is not a socket');
    const state = await probe(path);
    if (state === 'free') return;
    if (state === 'alive') throw inUse('another server answers there');
    if (stale === 'fail') throw inUse('a socket file without a server is left there, and stale is "fail"');
    const now = fileAt(path);
    // Another server that starts just now may have put its own file there. Numbers of files are given again.
    if (now?.ino !== file.ino || now.ctimeNs !== file.ctimeNs) continue;
    unlinkSync(path);
    return;
  }
}

const fileAt = (path: string): BigIntStats | undefined => lstatSync(path, { throwIfNoEntry: false, bigint: true });

/** Whether a stream socket's file has a server behind it. Only "connection refused" says that it has none. */
export function probeStream(path: string): Promise<'alive' | 'stale' | 'free'> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve('alive');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code === 'ECONNREFUSED' ? 'stale' : error.code === 'ENOENT' ? 'free' : 'alive');
    });
  });
}

/**
 * Binds with the wanted permission bits in force from the file's creation on: the umask is set around the
 * synchronous bind. Worker threads may not set it; there the bits are set right behind the bind.
 */
export function bindWithMode(address: PathAddress, bind: () => void): void {
  const { path, mode } = address;
  if (mode === undefined || isAbstract(path)) return bind();
  if (!isMainThread) {
    bind();
    if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) chmodSync(path, mode);
    return undefined;
  }
  const before = process.umask(0o777 & ~mode);
  try {
    bind();
  } finally {
    process.umask(before);
  }
  return undefined;
}

/** Remembers which file a path is, so that only our own is removed at the end. */
export class OwnedPath {
  readonly #path: string;
  readonly #inode: bigint | undefined;

  constructor(path: string) {
    this.#path = path;
    this.#inode = isAbstract(path) ? undefined : statSync(path, { bigint: true, throwIfNoEntry: false })?.ino;
  }

  /**
   * Runs `close`, which removes the path (libuv does so by name). A file that another server has put there since
   * is kept: it gets a second name meanwhile.
   */
  closeWith(close: () => void): void {
    const now = isAbstract(this.#path) ? undefined : statSync(this.#path, { bigint: true, throwIfNoEntry: false })?.ino;
    if (now === undefined || now === this.#inode) {
      close();
      return;
    }
    const aside = `${this.#path}.${process.pid}`;
    linkSync(this.#path, aside);
    try {
      close();
    } finally {
      renameSync(aside, this.#path);
    }
  }
}

/** Listens with a net.Server and resolves once it does; every failure is a `ListenError`. */
export async function listenOn(server: Server, address: Address, backlog: number): Promise<BoundAddress> {
  if ('path' in address) {
    checkPathLength(address);
    await clearPath(address, probeStream);
  }
  await new Promise<void>((resolve, reject) => {
    const failed = (error: unknown): void => reject(listenError(error, address));
    server.once('error', failed);
    const listening = (): void => {
      server.off('error', failed);
      resolve();
    };
    try {
      if ('path' in address) bindWithMode(address, () => server.listen({ path: address.path, backlog }, listening));
      else if ('fd' in address) server.listen({ fd: address.fd, backlog }, listening);
      else server.listen({ port: address.port, host: address.host, backlog, exclusive: true }, listening);
    } catch (error) {
      failed(error);
    }
  });
  return boundAddress(server.address(), address);
}

export function boundAddress(bound: ReturnType<Server['address']>, asked: Address): BoundAddress {
  // Node does not know the path of a Unix socket that it got by its number.
  if (bound === null) return asked as DescriptorAddress;
  if (typeof bound === 'string') return { ...('path' in asked && asked), path: bound };
  return { host: bound.address, port: bound.port };
}
