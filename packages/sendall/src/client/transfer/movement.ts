/** Moves a transfer's files over the streams of its run, from here or to here, and counts them. */
import { Readable, type Writable } from 'node:stream';
import type { FileEvent, FileTransfer } from '../../transfer/stream/events.js';
import { receiveFiles } from '../../transfer/receiving.js';
import type { Reads } from '../../transfer/source/reads.js';
import { sendFiles } from '../../transfer/sending.js';
import { fromOwnFolder } from '../own-folder.js';
import type { PreparedTransfer } from './options.js';
import type { TransferFile, TransferProgress } from './result.js';

/** What the transfers of a fleet share. */
export interface SharedBySiblings {
  /** Blocks of files that several hosts need. */
  readonly reads?: Reads;
}

export interface MovementOptions extends SharedBySiblings {
  /** Called once, when much has travelled. */
  readonly muchTravels?: (() => void) | undefined;
  /** Called with each file as it comes to its end; the transfer waits for it. */
  readonly onFile: (file: TransferFile) => Promise<void>;
  readonly signal: AbortSignal;
  /** Whether the sources land in the destination, as an earlier run has found. */
  readonly into: boolean | undefined;
}

/** Files that move over one run's streams. */
export class Movement {
  readonly #files: FileTransfer;
  /** Files and links that are there. */
  files = 0;
  /** The bytes of these files. */
  bytes = 0;
  same = 0;
  failed = 0;
  deleted = 0;
  /** What did not travel, by kind. */
  leftOut: Readonly<Record<string, number>> = {};
  #path: string | undefined;
  /** What content without a name becomes. */
  readonly #name: Buffer;

  constructor(
    { direction, sources, content, destination, placing }: PreparedTransfer,
    streams: { readonly input: Readable; readonly output: Writable; readonly copies: boolean },
    { onFile, signal, reads, into, muchTravels }: MovementOptions,
  ) {
    const { mode, ...settings } = placing;
    const named = destination instanceof Uint8Array ? Buffer.from(destination) : Buffer.alloc(0);
    this.#name = named.subarray(named.lastIndexOf(SLASH) + 1);
    const options = {
      settings: { ...settings, ...(mode !== undefined && { mode }), ...(into !== undefined && { into }) },
      onFile: async (event: FileEvent) => await onFile(this.#count(event)),
      signal,
      onMuch: muchTravels,
    };
    const sending = reads === undefined ? options : { ...options, reads };
    if (direction === 'push')
      this.#files = sendFiles(content ? [asSource(content)] : sources.map(ownPath), streams, sending);
    else {
      const target = destination instanceof Uint8Array ? ownPath(destination) : destination;
      this.#files = receiveFiles(target, streams, options);
    }
  }

  /** Whether the sources land in the destination; undefined until that is known. */
  get into(): boolean | undefined {
    return this.#files.into;
  }

  get progress(): TransferProgress {
    const { bytes, sent, complete, expected } = this.#files.progress;
    const { files, same, failed } = this;
    return { files, bytes, sent, same, failed, totalBytes: complete ? expected : undefined, path: this.#path };
  }

  /**
   * Resolves when the other side has confirmed the end of everything.
   * @throws the reason why the transfer ended early.
   */
  async end(): Promise<void> {
    const { leftOut } = await this.#files.result;
    this.leftOut = { ...this.leftOut, ...leftOut };
  }

  #count({ state, path, kind, bytes, sha256, reason }: FileEvent): TransferFile {
    const rawPath = path.length ? path : this.#name;
    const file = { path: rawPath.toString(), rawPath, kind, bytes, sha256: sha256?.toString('hex'), state, reason };
    this.#path = file.path;
    if (state === 'failed') this.failed += 1;
    if (state === 'deleted') this.deleted += 1;
    if (state === 'skipped') this.leftOut = { ...this.leftOut, special: (this.leftOut.special ?? 0) + 1 };
    if ((state !== 'placed' && state !== 'same') || kind === 'folder') return file;
    this.files += 1;
    this.bytes += bytes;
    if (state === 'same') this.same += 1;
    return file;
  }
}

const SLASH = 0x2f;

/** A path here as it was given, for messages; from a folder whose name is no text, in full. */
function ownPath(path: Uint8Array): Uint8Array {
  if (path[0] === SLASH) return path;
  const whole = fromOwnFolder(path);
  return process.cwd().includes('\ufffd') ? whole : path;
}

/** The content of a file without a name. */
function asSource(content: AsyncIterable<Uint8Array | string>): { name: string; stream: Readable } {
  return { name: '', stream: Readable.from(bytesOf(content), { objectMode: false }) };
}

async function* bytesOf(content: AsyncIterable<Uint8Array | string>): AsyncGenerator<Buffer, void, undefined> {
  for await (const chunk of content)
    yield typeof chunk === 'string'
      ? Buffer.from(chunk)
      : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
}
