/**
 * bare.js naive|batched: hand-written echo servers of u32be frames on node:net, as a good engineer would write them.
 * naive: the least work for each message, one write each. batched: decodes by offsets, one write for each chunk read.
 * bare.js raw|offsets|onread: receivers of one stream; each replies with the number of frames at the end of the stream.
 * raw: counts bytes, given the size of a frame. offsets: finds frames, allocates nothing. onread: the same with one
 * buffer for all reads of the socket.
 */
import { createServer, Socket, type SocketConstructorOpts } from 'node:net';

function naive(socket: Socket) {
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

function batched(socket: Socket) {
  let partial: Buffer | undefined;
  let out = Buffer.allocUnsafe(4096);
  let used = 0;
  const answer = (from: Buffer, start: number, end: number) => {
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

function raw(socket: Socket) {
  let bytes = 0;
  socket.on('data', (chunk) => (bytes += chunk.length));
  socket.on('end', () => socket.end(`${bytes / (4 + Number(process.argv[3]))}\n`));
}

/** Finds frames: a header may be cut anywhere; of a payload only the missing length matters. */
function makeCounter() {
  let [frames, headerBytes, length, left] = [0, 0, 0, 0];
  return {
    count(bytes: Buffer, end: number) {
      let at = 0;
      while (at < end) {
        if (left > 0) {
          const step = Math.min(left, end - at);
          at += step;
          left -= step;
          if (left === 0) frames++;
        } else if (headerBytes === 0 && end - at >= 4) {
          left = bytes.readUInt32BE(at);
          at += 4;
          if (left === 0) frames++;
          else if (end - at >= left) {
            at += left;
            left = 0;
            frames++;
          }
        } else {
          length = length * 256 + (bytes[at++] ?? 0);
          if (++headerBytes < 4) continue;
          left = length;
          headerBytes = length = 0;
          if (left === 0) frames++;
        }
      }
    },
    get frames() {
      return frames;
    },
  };
}

function offsets(socket: Socket) {
  const counter = makeCounter();
  socket.on('data', (chunk) => counter.count(chunk, chunk.length));
  socket.on('end', () => socket.end(`${counter.frames}\n`));
}

function onread(accepted: Socket) {
  const counter = makeCounter();
  // The option applies only when a socket is created, so the accepted connection moves into a new one.
  const inside = accepted as unknown as { _handle: unknown };
  const { _handle: handle } = inside;
  inside._handle = null;
  const options = {
    handle,
    allowHalfOpen: true,
    onread: {
      buffer: Buffer.allocUnsafeSlow(65_536),
      callback(size: number, bytes: Buffer) {
        counter.count(bytes, size);
        return true;
      },
    },
  };
  const socket = new Socket(options as SocketConstructorOpts);
  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.end(`${counter.frames}\n`));
}

const kinds = { naive, batched, raw, offsets, onread };
const kind = (process.argv[2] ?? 'batched') as keyof typeof kinds;
const serve = kinds[kind];
const oneWay = kind === 'raw' || kind === 'offsets' || kind === 'onread';
const server = createServer({ noDelay: true, allowHalfOpen: oneWay, pauseOnConnect: kind === 'onread' }, (socket) => {
  socket.on('error', () => socket.destroy());
  serve(socket);
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(address.port);
});

// The benchmark triggers a collection before reading the memory, so that garbage does not count.
process.on('SIGUSR2', () => globalThis.gc?.());
