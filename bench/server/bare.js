// @ts-check
// bare.js naive|batched: hand-written echo servers of u32be frames on node:net, as a good engineer would write them.
// naive: the least work for each message, one write each. batched: decodes by offsets, one write for each chunk read.
import { createServer } from 'node:net';

/** @typedef {import('node:net').Socket} Socket */

/** @param {Socket} socket */
function naive(socket) {
  let rest = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (rest.length - at >= 4) {
      const end = at + 4 + rest.readUInt32BE(at);
      if (end > rest.length) break;
      const answer = Buffer.allocUnsafe(end - at);
      answer.writeUInt32BE(end - at - 4, 0);
      rest.copy(answer, 4, at + 4, end);
      socket.write(answer);
      at = end;
    }
    rest = rest.subarray(at);
  });
}

/** @param {Socket} socket */
function batched(socket) {
  /** @type {Buffer | undefined} */
  let partial;
  let out = Buffer.allocUnsafe(4096);
  let used = 0;
  /**
   * @param {Buffer} from
   * @param {number} start
   * @param {number} end
   */
  const answer = (from, start, end) => {
    const size = end - start;
    if (used + 4 + size > out.length) {
      const larger = Buffer.allocUnsafe(2 * (used + 4 + size));
      out.copy(larger, 0, 0, used);
      out = larger;
    }
    out.writeUInt32BE(size, used);
    from.copy(out, used + 4, start, end);
    used += 4 + size;
  };
  socket.on('data', (chunk) => {
    const bytes = partial === undefined ? chunk : Buffer.concat([partial, chunk]);
    let at = 0;
    while (bytes.length - at >= 4) {
      const end = at + 4 + bytes.readUInt32BE(at);
      if (end > bytes.length) break;
      answer(bytes, at + 4, end);
      at = end;
    }
    partial = at === bytes.length ? undefined : bytes.subarray(at);
    if (used > 0) {
      socket.write(out.subarray(0, used));
      out = Buffer.allocUnsafe(4096);
      used = 0;
    }
  });
}

const serve = process.argv[2] === 'naive' ? naive : batched;
const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  serve(socket);
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(address.port);
});

// The benchmark asks for a collection before it reads the memory, so that garbage does not count.
process.on('SIGUSR2', () => globalThis.gc?.());
