/** What a command reads: our stdin when it is a pipe or a file or was asked for, a named file, or nothing. */
import { accessSync, constants, createReadStream, fstatSync, statSync } from 'node:fs';
import { UsageError } from '../errors.js';
import type { RunOptions } from '../index.js';
import type { Arguments } from './command.js';

/** Bytes of one read of a file. */
const CHUNK = 256 * 1024;

/** Throws UsageError when the options contradict each other or the file cannot be read. */
export function stdinFor(args: Arguments): NonNullable<RunOptions['stdin']> {
  if (args.on('no-stdin')) {
    if (args.on('stdin')) throw new UsageError('--stdin and -n contradict each other: leave one out');
    return 'none';
  }
  const file = args.bytes('stdin').at(-1);
  if (file) return readable(Buffer.from(file));
  // A detached command is left alone at once, so its stdin has to be asked for.
  if (args.on('stdin') || (hasData() && !args.on('detach'))) return process.stdin;
  return 'none';
}

/** A pipe, a socket or a file, and not a terminal or /dev/null. */
function hasData(): boolean {
  try {
    const info = fstatSync(0);
    return info.isFIFO() || info.isFile() || info.isSocket();
  } catch {
    return false;
  }
}

function readable(path: Buffer): AsyncIterable<Uint8Array> {
  const name = path.toString();
  let problem: string | undefined;
  try {
    if (statSync(path).isDirectory()) problem = 'is a folder';
    else accessSync(path, constants.R_OK);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    problem = code === 'ENOENT' ? 'does not exist' : code === 'EACCES' ? 'may not be read' : message;
  }
  if (problem) throw new UsageError(`--stdin: the file "${name}" ${problem}`);
  // Opened by whoever reads it, each host of a set for itself.
  return {
    [Symbol.asyncIterator]: () => createReadStream(path, { highWaterMark: CHUNK })[Symbol.asyncIterator](),
  };
}
