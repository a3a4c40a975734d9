/** The options that `run` and `sh` share, and what they mean to the API. */
import { createReadStream, fstatSync } from 'node:fs';
import { UsageError, type RunOptions } from '../index.js';
import type { Arguments, Option } from './command.js';
import { parseDuration, parseSize } from './units.js';

export const runOptions: Record<string, Option> = {
  cwd: {
    value: 'DIR',
    help: 'working folder on the host (default: home; on local the present one)',
    complete: 'folder',
  },
  env: { value: 'K=V', many: true, help: 'add a variable to the environment' },
  as: { value: 'USER', help: 'run as this user of the host' },
  stdin: {
    value: 'FILE',
    optionalValue: true,
    help: 'give it our stdin even from a terminal, or a file: --stdin=FILE',
  },
  'no-stdin': { short: 'n', help: 'leave stdin alone' },
  timeout: { value: 'TIME', help: 'end it after this time: 30s, 500ms, 10m (exit 203)' },
  'idle-timeout': { value: 'TIME', help: 'end it after this time without output' },
  'kill-grace': { value: 'TIME', help: 'time between TERM and KILL (default 5s)' },
  pty: { help: 'give it a terminal' },
  encoding: { value: 'LABEL', help: 'turn its output from this encoding (gbk, big5, …) into UTF-8' },
  json: { help: 'one JSON object a line on stdout' },
  quiet: { short: 'q', help: 'say nothing of our own' },
  detach: { short: 'd', help: 'start it, print its run id, leave' },
  name: { value: 'NAME', help: 'a name to find the run by' },
  tag: { value: 'TAG', many: true, help: 'a tag on the run' },
  id: { value: 'RUNID', help: 'run id to use; an id that exists is attached to, never started twice' },
  wait: {
    value: 'exit|eof|tree',
    help: 'return at its exit (default), at end of output, or when its whole tree ended',
    complete: ['exit', 'eof', 'tree'],
  },
  capture: {
    value: 'split|merged|exact',
    help: 'how stdout and stderr are taken',
    complete: ['split', 'merged', 'exact'],
  },
  'max-output': { value: 'SIZE', help: 'end it when it writes more than this' },
  overflow: {
    value: 'block|stop|drop-old',
    help: 'when nobody reads and the spool is full',
    complete: ['block', 'stop', 'drop-old'],
  },
  spool: { value: 'SIZE', help: 'bytes of output that the host keeps (default 256M)' },
  keep: { value: 'TIME', help: 'how long the host keeps the finished run (default 24h)' },
  sha256: { help: 'SHA-256 of each stream in the JSON result' },
  'give-up-after': { value: 'TIME', help: 'time without a link until it counts as lost (default 10m)' },
};

/** Whether our stdin is something to send: a pipe, a socket or a file, and not a terminal or /dev/null. */
function stdinHasData(): boolean {
  try {
    const info = fstatSync(0);
    return info.isFIFO() || info.isFile() || info.isSocket();
  } catch {
    return false;
  }
}

function stdinOf(args: Arguments): RunOptions['stdin'] {
  if (args.on('no-stdin')) {
    if (args.on('stdin')) throw new UsageError('--stdin and -n contradict each other');
    return 'none';
  }
  const file = args.text('stdin');
  if (file !== undefined) return createReadStream(file);
  if (args.on('stdin') || (stdinHasData() && !args.on('detach'))) return process.stdin;
  return 'none';
}

/** The API's options for what was given on the command line. */
export function toRunOptions(args: Arguments): RunOptions {
  const duration = (name: string) => {
    const text = args.text(name);
    return text === undefined ? undefined : parseDuration(text, `--${name}`);
  };
  const size = (name: string) => {
    const text = args.text(name);
    return text === undefined ? undefined : parseSize(text, `--${name}`);
  };
  const options: RunOptions = {
    stdin: stdinOf(args),
    reject: false,
    sha256: args.on('sha256'),
    tags: args.texts('tag'),
    env: args.bytes('env'),
  };
  const given: RunOptions = {
    ...(args.on('cwd') ? { cwd: args.bytes('cwd').at(-1) } : {}),
    runAs: args.text('as'),
    name: args.text('name'),
    runId: args.text('id'),
    encoding: args.text('encoding'),
    timeout: duration('timeout'),
    idleTimeout: duration('idle-timeout'),
    killGrace: duration('kill-grace'),
    keep: duration('keep'),
    giveUpAfter: duration('give-up-after'),
    spoolMax: size('spool'),
    maxOutput: size('max-output'),
    waitFor: args.text('wait') as RunOptions['waitFor'],
    capture: args.text('capture') as RunOptions['capture'],
    overflow: args.text('overflow') as RunOptions['overflow'],
    ...(args.on('pty')
      ? {
          pty: {
            cols: process.stdout.columns || 80,
            rows: process.stdout.rows || 24,
            term: process.env.TERM ?? 'xterm',
          },
        }
      : {}),
  } as RunOptions;
  for (const [name, value] of Object.entries(given)) if (value !== undefined) Object.assign(options, { [name]: value });
  return options;
}
