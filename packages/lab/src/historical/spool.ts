/** Keeps an answer until its length is known, in memory or in a file. */
import { open, mkdtemp, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Bytes of an answer kept in memory; longer answers go into a file. */
const MEMORY_BYTES = 1 << 20;

/** An answer whose length is known: in memory when it is short, in an unlinked temporary file when it is long. */
export interface Spooled extends AsyncDisposable {
  readonly length: number;
  /** The bytes, in pieces; may be called again. */
  chunks(): AsyncGenerator<Buffer, void, void>;
  /** At most the first `limit` bytes. */
  head(limit: number): Promise<Buffer>;
}

/** An answer above the limit: its command was ended, and none of it is sent. */
export class AnswerTooLongError extends Error {
  override readonly name = 'AnswerTooLongError';
}

/**
 * Collects an output to its end, since the length in front of an answer must be known before its first byte is sent.
 * @throws AnswerTooLongError above `limit` bytes
 */
export async function spool(output: AsyncIterable<Buffer>, limit: number): Promise<Spooled> {
  const pieces: Buffer[] = [];
  let length = 0;
  let file: FileHandle | undefined;
  try {
    for await (const piece of output) {
      length += piece.length;
      if (length > limit) throw new AnswerTooLongError(`the answer is longer than ${limit} bytes`);
      pieces.push(piece);
      if (!file && length > MEMORY_BYTES) file = await unnamedFile();
      if (file) for (let next = pieces.shift(); next; next = pieces.shift()) await writeAll(file, next);
    }
  } catch (error) {
    await file?.close();
    throw error;
  }
  const chunks = async function* () {
    if (!file) {
      yield* pieces;
      return;
    }
    for (let at = 0; at < length;) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(1 << 16), 0, 1 << 16, at);
      if (bytesRead === 0) throw new Error('the spooled answer is shorter than it was');
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  };
  return {
    length,
    chunks,
    async head(limit) {
      const parts: Buffer[] = [];
      let have = 0;
      for await (const chunk of chunks()) {
        parts.push(chunk);
        have += chunk.length;
        if (have >= limit) break;
      }
      return Buffer.concat(parts).subarray(0, limit);
    },
    async [Symbol.asyncDispose]() {
      await file?.close();
    },
  };
}

/** A file without a name: it disappears when closed, even if the process dies. */
async function unnamedFile(): Promise<FileHandle> {
  const folder = await mkdtemp(join(tmpdir(), 'wirelab-'));
  const file = await open(join(folder, 'answer'), 'wx+', 0o600);
  await rm(folder, { recursive: true });
  return file;
}

async function writeAll(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
}
