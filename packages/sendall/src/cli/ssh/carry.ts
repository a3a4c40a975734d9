/**
 * Carries a command's output to our stdout and stderr, byte for byte. A stream that ends there ends here, also while the
 * other one and stdin go on; a reader here that leaves makes the command's next write fail.
 */
import type { Readable, Writable } from 'node:stream';
import type { Result, Run, StreamName } from '../../index.js';
import { started } from '../../started.js';
import { standardSinks, type LostOutput } from '../show/sink.js';
import { letGo } from './descriptors.js';

const STDOUT = 1;
const STDERR = 2;

export interface Carried {
  readonly result: Result;
  /** Our stdout or stderr failed, and not because its reader had left. */
  readonly lost: LostOutput | undefined;
  /** The reader of our stdout has left. */
  readonly readerLeft: boolean;
}

/** Carries both streams to their ends. */
export async function carry(run: Run): Promise<Carried> {
  const { out, err } = standardSinks(undefined, true);
  const together = out === err;
  let lost: LostOutput | undefined;
  let readerLeft = false;
  const failed = (stream: StreamName) => (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') lost ??= { stream, error };
    else if (stream === 'stdout') readerLeft = true;
  };
  // As for ssh, a closed descriptor is the null device.
  const { closed } = started();
  const carried = closed.has(STDOUT) ? drop(run.stdout) : pour(run.stdout, out, failed('stdout'));
  const stdout = carried.then(async () => {
    if (together) return;
    await ended(out);
    // stderr stays, for our own words.
    letGo(STDOUT);
  });
  const stderr = closed.has(STDERR) ? drop(run.stderr) : pour(run.stderr, err, failed('stderr'));
  const result = await run.nothrow();
  await Promise.all([stdout, stderr]);
  await Promise.all([ended(out), ended(err)]);
  return { result, lost, readerLeft };
}

async function pour(source: Readable, sink: Writable, failed: (error: NodeJS.ErrnoException) => void): Promise<void> {
  sink.on('error', (error) => {
    failed(error);
    source.destroy();
  });
  await new Promise<void>((resolve) => {
    source
      .on('data', (bytes: Buffer) => {
        if (sink.write(bytes) || sink.destroyed) return;
        source.pause();
        sink.once('drain', () => source.resume());
      })
      .on('end', resolve)
      .on('error', () => undefined)
      .on('close', resolve);
  });
}

async function drop(source: Readable): Promise<void> {
  await new Promise<void>((resolve) => {
    source
      .on('close', resolve)
      .on('error', () => undefined)
      .resume();
  });
}

async function ended(sink: Writable): Promise<void> {
  await new Promise<void>((resolve) => {
    if (sink.closed) resolve();
    else sink.once('close', resolve).end();
  });
}
