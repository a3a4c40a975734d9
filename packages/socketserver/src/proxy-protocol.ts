import type { Connection } from './connection.js';
import type { PeerAddress } from './address.js';
import { ProxyHeaderError } from './errors.js';
import type { ProxyProtocol } from './options.js';

/**
 * The PROXY protocol: what a load balancer puts before the first byte to say who really called.
 * Source: "The PROXY protocol, versions 1 & 2" of HAProxy, sections 2.1 and 2.2.
 */
const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** The longest version 1 line, its CRLF included (section 2.1). */
const longestV1 = 107;
const v1Start = Buffer.from('PROXY ', 'latin1');
/** Most bytes of a version 2 header: addresses need at most 216, the rest is for its extensions. */
const longestV2 = 4_096;

export interface ProxyHeader {
  /** Bytes that the header takes. */
  length: number;
  /** Absent for health checks of the balancer itself (LOCAL, UNKNOWN): the real peer counts. */
  peer?: PeerAddress;
  local?: PeerAddress;
}

/**
 * Looks for a header at the beginning of `bytes`.
 * @returns undefined when more bytes are needed, null when there is none (for `optional`)
 * @throws ProxyHeaderError
 */
export function parseProxyHeader(bytes: Buffer, accept: ProxyProtocol): ProxyHeader | null | undefined {
  if (bytes.length === 0) return undefined;
  const isPart = (start: Buffer): boolean =>
    bytes.subarray(0, start.length).equals(start.subarray(0, Math.min(start.length, bytes.length)));
  if (accept !== 'v1' && isPart(signature)) return bytes.length < 16 ? undefined : parseV2(bytes);
  if (accept !== 'v2' && isPart(v1Start)) return parseV1(bytes);
  if (accept === 'optional') return null;
  throw new ProxyHeaderError(
    `no PROXY protocol header${typeof accept === 'string' ? ` (${accept})` : ''}: the connection does not begin with one`,
  );
}

function parseV1(bytes: Buffer): ProxyHeader | undefined {
  const end = bytes.subarray(0, longestV1).indexOf('\r\n');
  if (end < 0) {
    if (bytes.length >= longestV1) throw new ProxyHeaderError('the PROXY line has no end in its first 107 bytes');
    return undefined;
  }
  const line = bytes.toString('latin1', 0, end);
  const length = end + 2;
  const [, protocol, from, to, fromPort, toPort, ...more] = line.split(' ');
  if (protocol === 'UNKNOWN') return { length };
  const wellFormed =
    (protocol === 'TCP4' || protocol === 'TCP6') &&
    more.length === 0 &&
    isAddress(from, protocol) &&
    isAddress(to, protocol) &&
    isPort(fromPort) &&
    isPort(toPort);
  if (!wellFormed) throw new ProxyHeaderError(`the PROXY line is malformed: ${JSON.stringify(line)}`);
  return {
    length,
    peer: { host: from!, port: Number(fromPort) },
    local: { host: to!, port: Number(toPort) },
  };
}

function isAddress(text: string | undefined, protocol: string): boolean {
  if (text === undefined) return false;
  return protocol === 'TCP4'
    ? /^(\d{1,3}\.){3}\d{1,3}$/.test(text)
    : /^[0-9a-fA-F:.]+$/.test(text) && text.includes(':');
}

function isPort(text: string | undefined): boolean {
  return text !== undefined && /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65535;
}

function parseV2(bytes: Buffer): ProxyHeader | undefined {
  const version = bytes[12]! >> 4;
  const command = bytes[12]! & 15;
  const family = bytes[13]! >> 4;
  const length = 16 + bytes.readUInt16BE(14);
  if (version !== 2 || command > 1)
    throw new ProxyHeaderError(`PROXY version ${version}, command ${command} is not known`);
  if (length > longestV2) throw new ProxyHeaderError(`a PROXY header of ${length} bytes: more than ${longestV2}`);
  if (bytes.length < length) return undefined;
  if (command === 0 || family === 0) return { length };
  const body = bytes.subarray(16, length);
  const need = [0, 12, 36, 216][family];
  if (need === undefined || body.length < need)
    throw new ProxyHeaderError(`a PROXY header of family ${family} with ${body.length} bytes of addresses`);
  if (family === 1)
    return {
      length,
      peer: { host: body.subarray(0, 4).join('.'), port: body.readUInt16BE(8) },
      local: { host: body.subarray(4, 8).join('.'), port: body.readUInt16BE(10) },
    };
  if (family === 2)
    return {
      length,
      peer: { host: ipv6(body.subarray(0, 16)), port: body.readUInt16BE(32) },
      local: { host: ipv6(body.subarray(16, 32)), port: body.readUInt16BE(34) },
    };
  return { length, peer: { path: cString(body.subarray(0, 108)) }, local: { path: cString(body.subarray(108, 216)) } };
}

function ipv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0, 1);
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end).replace(/^\0$/, '');
}

/** Reads the header, gives the connection the addresses in it, and puts the bytes behind it back. */
export async function readProxyHeader(connection: Connection, accept: ProxyProtocol): Promise<void> {
  const { wire: socket } = connection;
  connection.awaitHandshake();
  let bytes: Buffer = Buffer.alloc(0);
  for (;;) {
    const header = parseProxyHeader(bytes, accept);
    if (header !== undefined) {
      const rest = bytes.subarray(header?.length ?? 0);
      if (rest.length > 0) socket.unshift(rest);
      if (header?.peer !== undefined) connection.peer = header.peer;
      if (header?.local !== undefined) connection.local = header.local;
      connection.handshakeDone();
      return;
    }
    const chunk = await nextChunk(connection);
    if (chunk === null) throw new ProxyHeaderError('the connection ended before its PROXY header did');
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
  }
}

function nextChunk(connection: Connection): Promise<Buffer | null> {
  const { wire: socket } = connection;
  return new Promise((resolve, reject) => {
    const done = (): void => {
      socket.off('data', onData).off('end', onEnd).off('close', onClose);
      socket.pause();
    };
    const onData = (chunk: Buffer): void => {
      done();
      resolve(chunk);
    };
    const onEnd = (): void => {
      done();
      resolve(null);
    };
    const onClose = (): void => {
      done();
      reject(connection.failure ?? new ProxyHeaderError('the connection ended before its PROXY header did'));
    };
    socket.on('data', onData).on('end', onEnd).on('close', onClose);
    socket.resume();
  });
}
