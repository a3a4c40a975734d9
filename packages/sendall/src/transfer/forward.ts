/** `forward HOST:PORT`: a connection from here, with stdin and stdout as its two directions. */
import { lookup } from 'node:dns/promises';
import { closeSync, openSync } from 'node:fs';
import { connect, isIP, Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';

const STDOUT = 1;
/** Milliseconds that one address may take to answer. */
const CONNECT_MS = 15_000;
/** Addresses of one name that are tried. */
const MOST_ADDRESSES = 8;

/** Why no connection came to be, or why it broke: a sentence for people. */
class ForwardError extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(`${message} (${code})`);
    this.name = 'ForwardError';
    this.code = code;
  }
}

/** What forward cannot say otherwise than by the number of the system. */
const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused the connection',
  EHOSTUNREACH: 'cannot be reached from here',
  ENETUNREACH: 'cannot be reached from here',
  ETIMEDOUT: 'did not answer in time',
  EACCES: 'may not be connected to',
  EPERM: 'may not be connected to',
  ECONNRESET: 'reset the connection',
  EPIPE: 'takes no more bytes',
};

/**
 * Connects to `HOST:PORT`, an IPv6 address in brackets, and carries bytes both ways; the end of one direction leaves the
 * other open. Returns the exit code: 0 when both have ended, 1 with a sentence on stderr when there was no connection or it
 * broke.
 */
export async function forward(operand: string): Promise<number> {
  try {
    const { host, port } = readTarget(operand);
    const socket = await connectTo(host, port);
    // Not process.stdout, whose writes to a pipe may wait, and the other direction would wait with them.
    const stdout = new Socket({ fd: STDOUT, readable: false, writable: true });
    const stdin = new Socket({ fd: 0, readable: true, writable: false });
    // The end of each direction is passed on by itself.
    const answers = pipeline(socket, stdout).then(() => closeStdout(stdout));
    await Promise.all([pipeline(stdin, socket), answers]).catch((error) => {
      throw broken(error, operand);
    });
    return 0;
  } catch (error) {
    if (!(error instanceof ForwardError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 1;
  }
}

/** Tells the reader that no more comes: Node itself leaves descriptors 0 to 2 open until the process ends. */
function closeStdout(stdout: Socket): void {
  const close = (): void => {
    closeSync(STDOUT);
    // What is opened next must not get its number.
    openSync('/dev/null', 'w');
  };
  if (stdout.closed) close();
  else stdout.once('close', close);
}

/** Splits HOST:PORT. @throws ForwardError */
function readTarget(operand: string): { host: string; port: number } {
  const [, inBrackets, name, digits] = /^(?:\[([^\]\s\p{C}]+)\]|([^:[\]\s\p{C}]+)):(\d{1,5})$/u.exec(operand) ?? [];
  const host = inBrackets ?? name;
  const port = Number(digits);
  if (
    host === undefined ||
    port < 1 ||
    port > 65_535 ||
    (inBrackets !== undefined && isIP(inBrackets.split('%')[0]!) !== 6)
  )
    throw new ForwardError('EINVAL', `${JSON.stringify(operand)} is not HOST:PORT, with an IPv6 address as [::1]:22`);
  return { host, port };
}

/** A connection to the first address that accepts one. @throws ForwardError of the last */
async function connectTo(host: string, port: number): Promise<Socket> {
  let failure: ForwardError | undefined;
  for (const address of await addressesOf(host)) {
    try {
      return await dial(address, port);
    } catch (error) {
      failure = broken(error, host === address ? `${host}:${port}` : `${host}:${port} at ${address}`);
    }
  }
  throw failure!;
}

async function addressesOf(host: string): Promise<string[]> {
  if (isIP(host)) return [host];
  try {
    const found = await lookup(host, { all: true });
    return found.slice(0, MOST_ADDRESSES).map(({ address }) => address);
  } catch (error) {
    const { code = 'ENOTFOUND' } = error as NodeJS.ErrnoException;
    const why = code === 'ENOTFOUND' ? 'is no host that is known here' : 'cannot be looked up here';
    throw new ForwardError(code, `${host} ${why}`);
  }
}

function dial(host: string, port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
    const timer = setTimeout(
      () => socket.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })),
      CONNECT_MS,
    );
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', reject);
      resolve(socket);
    });
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

function broken(error: unknown, what: string): ForwardError {
  const { code = 'EIO', message } = error as NodeJS.ErrnoException;
  return new ForwardError(code, `${what} ${reasons[code] ?? message}`);
}
