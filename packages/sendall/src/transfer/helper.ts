/**
 * The program at the host's end of a transfer: `put DST` receives, `get SRC…` sends, `forward HOST:PORT` connects, over
 * stdin and stdout. It runs as the run's user. SENDALL_ROOTS says which files it may touch, and must be there: `any`, or
 * a JSON list of paths with one character a byte.
 */
import { Socket } from 'node:net';
import { createReadStream, createWriteStream, fstatSync } from 'node:fs';
import { ownWords } from '../text/own-words.js';
import type { Readable, Writable } from 'node:stream';
import { Reporter } from '../protocol/transfer-report.js';
import type { FileEvent, FileTransfer } from './stream/events.js';
import { forward } from './forward.js';
import { receiveFiles } from './receiving.js';
import { PipeInput } from './stream/pipe-input.js';
import { placedPath, sentPath } from './reported-path.js';
import { sendFiles } from './sending.js';
import type { Roots } from './files/roots.js';

/** All is placed or the same; a file failed; the transfer failed. */
const EXIT = { done: 0, files: 1, transfer: 2 } as const;
const MOST_ROOTS = 1000;
const STDIN = 0;
const STDOUT = 1;
const SLASH = 0x2f;

/** A mistake in how this program was started. */
class StartError extends Error {}

function rootsOf(env: NodeJS.ProcessEnv): Roots | undefined {
  const { SENDALL_ROOTS: text, SENDALL_MAX_SIZE: size } = env;
  if (text === 'any') return undefined;
  let list: unknown;
  try {
    list = JSON.parse(text ?? '');
  } catch {
    list = undefined;
  }
  if (!Array.isArray(list) || list.length < 1 || list.length > MOST_ROOTS)
    throw new StartError(
      "SENDALL_ROOTS is missing or is no list of paths: this program is started by sendall's keeper",
    );
  const paths = list.map((path: unknown) => {
    if (typeof path !== 'string' || !path.startsWith('/') || path.includes('\0'))
      throw new StartError('SENDALL_ROOTS has something that is no absolute path');
    const bytes = Buffer.from(path, 'latin1');
    return bytes.length > 1 && bytes.at(-1) === SLASH ? bytes.subarray(0, -1) : bytes;
  });
  const maxBytes = size === undefined ? undefined : Number(size);
  if (maxBytes !== undefined && !Number.isSafeInteger(maxBytes)) throw new StartError('SENDALL_MAX_SIZE is no number');
  return { paths, maxBytes };
}

/** Our standard input and output as streams that do not block. */
function standardStreams(): { input: Readable; output: Writable } {
  const isFile = (fd: number): boolean => fstatSync(fd).isFile();
  return {
    input: isFile(STDIN) ? createReadStream('', { fd: STDIN }) : new PipeInput(STDIN),
    output: isFile(STDOUT)
      ? createWriteStream('', { fd: STDOUT })
      : new Socket({ fd: STDOUT, readable: false, writable: true }),
  };
}

function start(
  verb: string,
  operands: readonly Buffer[],
  env: NodeJS.ProcessEnv,
  streams: ReturnType<typeof standardStreams>,
  onFile: (event: FileEvent) => void,
): FileTransfer {
  const options = { roots: rootsOf(env), run: env.SENDALL_RUN, onFile };
  const [first] = operands;
  if (verb === 'put' && first && operands.length === 1) return receiveFiles(first, streams, options);
  if (verb === 'get' && first) return sendFiles(operands, streams, options);
  throw new StartError('put takes one operand, get at least one');
}

/** Tells the keeper's log. `placeOf`: where a file is on this host. */
function report(
  reporter: Reporter,
  placeOf: (path: Buffer) => Buffer,
  { state, kind, path, bytes, sha256 }: FileEvent,
): void {
  if (state === 'placed' && kind === 'file') reporter.placed(placeOf(path), bytes, sha256?.toString('hex'));
  else if (state === 'same') reporter.same();
  else if (state === 'failed') reporter.failed();
}

async function main(): Promise<number> {
  const [verb, ...operands] = ownWords().map((word) => Buffer.from(word));
  if (verb?.toString() === 'forward') return await forward(operands.join(' '));
  const env = { ...process.env };
  delete process.env.SENDALL_ROOTS;
  const streams = standardStreams();
  const reporter = new Reporter();
  const placeOf = (path: Buffer): Buffer =>
    verb?.toString() === 'put' ? placedPath(operands[0]!, transfer.into ?? false, path) : sentPath(operands, path);
  const transfer = start(verb?.toString() ?? '', operands, env, streams, (event) => report(reporter, placeOf, event));
  const { failed } = await transfer.result.finally(() => reporter.end());
  await new Promise<void>((resolve) => {
    if (streams.output.writableFinished || streams.output.destroyed) resolve();
    else streams.output.once('finish', resolve).once('close', resolve);
  });
  return failed > 0 ? EXIT.files : EXIT.done;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(`sendall: ${(error as Error).message}`);
    process.exit(EXIT.transfer);
  },
);
