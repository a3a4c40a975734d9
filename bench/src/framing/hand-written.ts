/**
 * Decoders as a careful programmer writes them for one protocol: four bytes, big-endian, then the payload. No limit, no
 * errors, no end of stream, no stopping: the bar for decoders with all of these.
 */

type Take = (buf: Buffer, from: number, to: number) => void;

export class Offsets {
  readonly take: Take;
  readonly head = Buffer.allocUnsafe(4);
  have = 0;
  body: Buffer | undefined;
  filled = 0;

  constructor(take: Take) {
    this.take = take;
  }

  push(chunk: Buffer) {
    const { length } = chunk;
    let at = this.have > 0 ? this.resume(chunk) : 0;
    while (length - at >= 4) {
      const size = ((chunk[at] << 24) | (chunk[at + 1] << 16) | (chunk[at + 2] << 8) | chunk[at + 3]) >>> 0;
      const end = at + 4 + size;
      if (end > length) {
        this.have = 4;
        this.body = Buffer.allocUnsafe(size);
        this.filled = chunk.copy(this.body, 0, at + 4);
        return;
      }
      this.whole(chunk, at + 4, end);
      at = end;
    }
    while (at < length) this.head[this.have++] = chunk[at++];
  }

  whole(chunk: Buffer, from: number, to: number) {
    this.take(chunk, from, to);
  }

  /** The rest of a frame that began in an earlier chunk. */
  resume(chunk: Buffer) {
    let at = 0;
    if (this.body === undefined) {
      while (this.have < 4 && at < chunk.length) this.head[this.have++] = chunk[at++];
      if (this.have < 4) return at;
      this.body = Buffer.allocUnsafe(this.head.readUInt32BE(0));
      this.filled = 0;
    }
    const { body } = this;
    const copied = chunk.copy(body, this.filled, at);
    this.filled += copied;
    if (this.filled === body.length) {
      this.have = 0;
      this.body = undefined;
      this.whole(body, 0, body.length);
    }
    return at + copied;
  }
}

/** The same, creating a view for each frame. */
export class Views extends Offsets {
  readonly on: (frame: Buffer) => void;

  constructor(on: (frame: Buffer) => void) {
    super(() => {});
    this.on = on;
  }

  override whole(chunk: Buffer, from: number, to: number) {
    this.on(chunk.subarray(from, to));
  }
}

const none: Buffer = Buffer.alloc(0);

/** Lines by `indexOf`, as offsets. */
export function lineOffsets(chunks: readonly Buffer[], take: Take) {
  let rest = none;
  for (const chunk of chunks) {
    let at = 0;
    for (;;) {
      const end = chunk.indexOf(10, at);
      if (end < 0) break;
      if (rest === none) take(chunk, at, end);
      else {
        const line: Buffer = Buffer.concat([rest, chunk.subarray(at, end)]);
        rest = none;
        take(line, 0, line.length);
      }
      at = end + 1;
    }
    if (at < chunk.length) rest = rest === none ? chunk.subarray(at) : Buffer.concat([rest, chunk.subarray(at)]);
  }
}
