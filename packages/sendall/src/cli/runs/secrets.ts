/** The secrets of a command line: values, files and stdin. No message shows what may be a value. */
import { createReadStream, fstatSync } from 'node:fs';
import { isatty } from 'node:tty';
import { UsageError } from '../../errors.js';
import { secret, type RunOptions } from '../../index.js';
import { isSecretName, SECRET_NAME } from '../../internal.js';
import { started } from '../../started.js';
import { textOf, type Arguments } from '../words/command.js';

const EQUALS = 0x3d;
const AT = 0x40;
const DASH = 0x2d;
/** No host takes more in one. */
const LONGEST = 1024 * 1024;
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  EISDIR: 'is a folder',
  EACCES: 'cannot be read: permission denied',
};
const FORMS = 'NAME=VALUE, NAME=@FILE or NAME=-';

/**
 * Where each secret is, by its name.
 * @throws UsageError for a wrong form or name
 */
function sourcesOf(args: Arguments): Map<string, Uint8Array> {
  const sources = new Map<string, Uint8Array>();
  for (const word of args.bytes('secret')) {
    const end = word.indexOf(EQUALS);
    if (end < 0) throw new UsageError(`--secret takes ${FORMS}`);
    const name = textOf(word.subarray(0, end));
    if (!isSecretName(name)) throw new UsageError(`--secret: the name before "=" is not allowed: ${SECRET_NAME}`);
    if (sources.has(name)) throw new UsageError(`--secret: ${name} is given twice`);
    sources.set(name, word.subarray(end + 1));
  }
  return sources;
}

/**
 * The names alone; no value is read.
 * @throws UsageError for a wrong form or name
 */
export const secretNames = (args: Arguments): string[] => [...sourcesOf(args).keys()];

/** @throws UsageError for a wrong form or name, and for what cannot be read. */
export async function secretOptions(args: Arguments): Promise<Pick<RunOptions, 'secrets' | 'secretAs'>> {
  const sources = sourcesOf(args);
  const [first, second] = [...sources].filter(([, source]) => isStdin(source)).map(([name]) => name);
  if (second !== undefined)
    throw new UsageError(
      `--secret: ${first} and ${second} both want our stdin: give one of them a file (${second}=@FILE)`,
    );
  // The plan of a run needs no values.
  if (args.on('explain')) return {};
  const secrets: Record<string, ReturnType<typeof secret>> = {};
  for (const [name, source] of sources) secrets[name] = secret(await valueOf(name, source));
  return { secrets, secretAs: args.text('secret-as') as RunOptions['secretAs'] & {} };
}

const isStdin = (source: Uint8Array): boolean => source.length === 1 && source[0] === DASH;

async function valueOf(name: string, source: Uint8Array): Promise<Uint8Array> {
  if (isStdin(source)) {
    if (isatty(0))
      throw new UsageError(
        `--secret ${name}=-: our stdin is a terminal, which would show it: redirect it, or use ${name}=@FILE`,
      );
    if (started().closed.has(0))
      throw new UsageError(`--secret ${name}=-: our stdin is closed: redirect it, or use ${name}=@FILE`);
    return await readAll(ownStdin(), name, 'our stdin');
  }
  if (source[0] !== AT) return source;
  const path = Buffer.from(source.subarray(1));
  if (!path.length) throw new UsageError(`--secret ${name}: after "@" comes the name of a file`);
  return await readAll(createReadStream(path), name, `the file ${JSON.stringify(textOf(path))}`);
}

/** Node reads nothing from kinds that it does not know, and says nothing: a folder, a block device. */
function ownStdin(): AsyncIterable<Uint8Array | string> {
  const info = fstatSync(0);
  return info.isFIFO() || info.isSocket() ? process.stdin : createReadStream('', { fd: 0, autoClose: false });
}

async function readAll(stream: AsyncIterable<Uint8Array | string>, name: string, what: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of stream) {
      chunks.push(chunk as Uint8Array);
      length += chunk.length;
      if (length > LONGEST) break;
    }
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    throw new UsageError(`--secret ${name}: ${what} ${REASONS[code] ?? `cannot be read: ${code}`}`, { cause: error });
  }
  if (length > LONGEST) throw new UsageError(`--secret ${name}: ${what} has more than ${LONGEST} bytes`);
  // Most likely a program before us has failed.
  if (length === 0) throw new UsageError(`--secret ${name}: ${what} is empty (${name}= gives an empty value)`);
  return Buffer.concat(chunks);
}
