/** Targets for output that is not collected: a file, this process's own stdout or stderr, or a stream. */
import { createWriteStream, openSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { UsageError } from '../../errors.js';
import { printable } from '../../text/printable.js';
import { either, flag, having, objectOf, oneOf, type Rule } from './check.js';
import type { StreamName } from '../streams/output.js';

/**
 * "pipe" (default): collected, or read as a stream. "inherit": to this process's stdout or stderr. "ignore": dropped. A
 * file: overwritten, or with `append` extended; a relative name starts at our own folder. A Writable: ended after the
 * last byte, unless it is process.stdout or process.stderr, or another run still writes to it.
 */
export type OutputTarget =
  | 'pipe'
  | 'inherit'
  | 'ignore'
  | Writable
  | { readonly file: string | URL; readonly append?: boolean | undefined };

const fileName: Rule = {
  allowed: "a file's name or file: URL",
  fits: (value) =>
    (typeof value === 'string' && value !== '' && !value.includes('\0')) ||
    (value instanceof URL && value.protocol === 'file:'),
};

/** The allowed targets. */
export const outputTargetRule: Rule = either(
  oneOf('pipe', 'inherit', 'ignore'),
  objectOf({ file: fileName, append: flag }, 'file'),
  having('a Writable', 'write', 'end', 'on'),
);

/** The most listeners for one event that a pipeline puts on its target. */
const LISTENERS = 4;

/** These stay open until the process ends. */
export const isOurs = (target: Writable): boolean => target === process.stdout || target === process.stderr;

/** Streams that runs write to, with the number of unfinished runs for each. */
export const writers = {
  left: new WeakMap<Writable, number>(),
  /** Adds a writer. The returned function removes it and says whether it was the last. */
  add(target: Writable): () => boolean {
    const { left } = this;
    left.set(target, (left.get(target) ?? 0) + 1);
    target.setMaxListeners(target.getMaxListeners() + LISTENERS);
    return () => {
      target.setMaxListeners(target.getMaxListeners() - LISTENERS);
      const others = left.get(target)! - 1;
      left.set(target, others);
      return others === 0;
    };
  },
};

interface Opened {
  readonly sink: Writable;
  /** Its name in messages. */
  readonly label: string;
  /** Opened here, so we close it and wait for the close. */
  readonly isFile: boolean;
}

/**
 * Where one run's output goes, by stream. Both streams may go into one file; their pieces then keep their order of
 * arrival.
 */
export class OutputTargets {
  readonly #opened = new Map<StreamName, Opened>();
  readonly #files = new Map<string, Opened>();

  /**
   * Opens the files.
   * @throws UsageError when one cannot be written.
   */
  constructor(targets: { readonly stdout: OutputTarget | undefined; readonly stderr: OutputTarget | undefined }) {
    try {
      for (const stream of ['stdout', 'stderr'] as const) {
        const target = targets[stream];
        if (target === undefined || target === 'pipe' || target === 'ignore') continue;
        if (target === 'inherit') this.#opened.set(stream, { sink: process[stream], label: stream, isFile: false });
        else if ('file' in target) this.#opened.set(stream, this.#file(stream, target));
        else this.#opened.set(stream, { sink: target, label: 'the stream it goes to', isFile: false });
      }
    } catch (error) {
      for (const { sink } of this.#files.values()) sink.destroy();
      throw error;
    }
  }

  /** The streams that go somewhere. */
  get streams(): StreamName[] {
    return [...this.#opened.keys()];
  }

  /** Writes all of a stream. If any byte cannot be written, rejects and releases the source. */
  async pour(stream: StreamName, source: Readable): Promise<void> {
    const { sink, label, isFile } = this.#opened.get(stream)!;
    const done = writers.add(sink);
    // The failing write reports the error.
    const heard = (): void => undefined;
    sink.on('error', heard);
    try {
      for await (const chunk of source) await written(sink, chunk as Buffer);
    } catch (error) {
      if (done() && isFile) sink.destroy();
      throw new Error(`not all of ${stream} was written to ${label}: ${(error as Error).message}`, { cause: error });
    } finally {
      if (!isFile) sink.off('error', heard);
    }
    if (!done() || isOurs(sink)) return;
    sink.end();
    if (!isFile) return;
    await finished(sink, { readable: false }).catch((error: unknown) => {
      throw new Error(`${label} could not be closed: ${(error as Error).message}`, { cause: error });
    });
  }

  #file(stream: StreamName, { file, append }: { readonly file: string | URL; readonly append?: boolean | undefined }) {
    const path = resolve(typeof file === 'string' ? file : fileURLToPath(file));
    const known = this.#files.get(path);
    if (known) return known;
    const label = printable(path);
    if (statSync(path, { throwIfNoEntry: false })?.isFIFO())
      throw new UsageError(`${stream}: ${label} is a named pipe: open it yourself and give the stream`);
    let fd: number;
    try {
      fd = openSync(path, append ? 'a' : 'w');
    } catch (error) {
      throw new UsageError(`${stream}: ${label} cannot be written: ${(error as NodeJS.ErrnoException).code}`, {
        cause: error,
      });
    }
    const opened = { sink: createWriteStream(path, { fd }), label, isFile: true };
    this.#files.set(path, opened);
    return opened;
  }
}

function written(sink: Writable, chunk: Buffer): Promise<void> {
  return new Promise((taken, failed) => {
    sink.write(chunk, (error) => (error ? failed(error) : taken()));
  });
}
