/** Reads the PROXY header of a new connection. */
import type { Connection } from './connection.js';
import { ProxyHeaderError } from '../errors.js';
import type { ProxyProtocol } from '../options.js';
import { parseProxyHeader } from './proxy-protocol.js';

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
      if (header !== null) connection.proxyHeader = header;
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
