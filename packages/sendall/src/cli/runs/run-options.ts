/** The options shared by `run` and `sh`, and their translation to the API. */
import { UsageError } from '../../errors.js';
import type { RunOptions } from '../../index.js';
import { under, type Arguments, type Option } from '../words/command.js';
import { reachOptions } from '../hosts/reach.js';
import { parseLimits } from '../words/limit-words.js';
import { rolloutOptions } from '../words/rollout-options.js';
import { stdinFor } from '../words/stdin.js';
import { parseDuration, parseSize } from '../words/units.js';
import { echoOptions } from '../terminal/predicted-echo.js';

/** Starts the command on one connected host, or on many. */
export type Begin = <T>(on: Starter<T>, options: RunOptions) => T;
interface Starter<T> {
  run(argv: readonly Uint8Array[], options: RunOptions): T;
  sh(script: Uint8Array, options: RunOptions): T;
}

/** Where a program runs, as whom, and what it finds in its environment. */
export const surroundings: Record<string, Option> = {
  cwd: {
    value: 'DIR',
    help: 'working folder on the host, relative to home; on local, to the current folder (default: these)',
    complete: 'folder',
  },
  env: { value: 'K=V', help: 'add a variable to the environment' },
  as: { value: 'USER', help: 'run as this user of the host' },
  secret: {
    value: 'NAME=@FILE|-|VALUE',
    help:
      'give it a secret from a file or from our stdin (-), which stands in no list, log or journal; a VALUE here is ' +
      'visible to all users of this machine (ps) and may stay in your shell’s history',
  },
  'secret-as': {
    value: 'fd|env',
    help:
      'how it gets its secrets: from the descriptor whose number is in NAME_FD (default), or in the variable NAME, which ' +
      'other processes of its user can read',
    complete: ['fd', 'env'],
  },
  limit: {
    value: 'NAME=N,…',
    help:
      'what it may use: memory=512M of all its processes, cpu=60s and files=256 of each, and so many processes=64 ' +
      '(exit 206)',
    complete: 'limit',
  },
};

/** The API's options for the secrets given on the command line. */
export async function secretsOf(args: Arguments): Promise<Pick<RunOptions, 'secrets' | 'secretAs'>> {
  if (args.on('secret')) return await (await import('./secrets.js')).secretOptions(args);
  if (args.on('secret-as')) throw new UsageError('--secret-as says how --secret is given: there is no --secret');
  return {};
}

export const runOptions: Record<string, Option> = {
  ...under('The program', {
    ...surroundings,
    stdin: {
      value: 'FILE',
      optionalValue: true,
      help: 'pass it our stdin even from a terminal, or any kind of file: --stdin=FILE',
    },
    'no-stdin': { short: 'n', help: 'leave stdin alone' },
    pty: { help: 'give it a terminal' },
    ...echoOptions,
  }),
  ...under('Its time', {
    timeout: { value: 'TIME', help: 'end it after this time: 30s, 500ms, 10m (exit 203)' },
    deadline: {
      value: 'TIME',
      help: 'have its result by this time from now, or from each host’s turn; the host ends it then, also without us',
    },
    'idle-timeout': { value: 'TIME', help: 'end it after this time without output' },
    'kill-grace': { value: 'TIME', help: 'time between TERM and KILL (default 5s)' },
    wait: {
      value: 'exit|eof|tree',
      help: 'return at its exit (default), at end of output, or when its whole tree has ended',
      complete: ['exit', 'eof', 'tree'],
    },
  }),
  ...under('Its output', {
    encoding: { value: 'LABEL', help: 'convert its output from this encoding (gbk, big5, …) to UTF-8' },
    json: { help: 'one JSON object a line on stdout' },
    quiet: { short: 'q', help: 'print no messages of our own' },
    capture: {
      value: 'split|merged|exact|ordered',
      help:
        'how to capture stdout and stderr; write by write: exact (any program, writes up to 4096 bytes, order as read) ' +
        'or ordered (true order; not for programs that open /dev/stdout, nor node, deno, bun)',
      complete: ['split', 'merged', 'exact', 'ordered'],
    },
    'max-output': { value: 'SIZE', help: 'end it when it writes more than this, and drop the excess (exit 206)' },
    overflow: {
      value: 'block|stop|drop-old',
      help: 'what to do when output is not read and the spool is full',
      complete: ['block', 'stop', 'drop-old'],
    },
    spool: { value: 'SIZE', help: 'bytes of output that the host keeps (default 256M)' },
    sha256: { help: 'SHA-256 of each stream in the JSON result' },
  }),
  ...under('The run', {
    detach: { short: 'd', help: 'start it, print its run id on stderr, leave' },
    name: { value: 'NAME', help: 'a name to find the run by' },
    tag: { value: 'TAG', help: 'a tag on the run' },
    id: { value: 'RUNID', help: 'run id to use; an existing id is attached to, never started twice' },
    keep: { value: 'TIME', help: 'how long the host keeps the finished run (default 24h)' },
    'sync-log': { help: 'wait until the host’s log has the run’s end on disk' },
  }),
  ...under('The link', {
    'give-up-after': { value: 'TIME', help: 'time without a link until it counts as lost (default 10m)' },
    ...reachOptions,
  }),
  ...rolloutOptions,
};

/** The API's options for those given on the command line. */
export function toRunOptions(args: Arguments): RunOptions {
  const duration = (name: string) => {
    const text = args.text(name);
    return text === undefined ? undefined : parseDuration(text, `--${name}`);
  };
  const size = (name: string) => {
    const text = args.text(name);
    return text === undefined ? undefined : parseSize(text, `--${name}`);
  };
  return {
    stdin: args.on('explain') ? 'none' : stdinFor(args),
    reject: false,
    sha256: args.on('sha256'),
    syncLog: args.on('sync-log'),
    tags: args.texts('tag'),
    env: args.bytes('env'),
    ...(args.on('cwd') ? { cwd: args.bytes('cwd').at(-1) } : {}),
    runAs: args.text('as'),
    limits: parseLimits(args.texts('limit')),
    name: args.text('name'),
    runId: args.text('id'),
    encoding: args.text('encoding'),
    timeout: duration('timeout'),
    deadline: duration('deadline'),
    idleTimeout: duration('idle-timeout'),
    killGrace: duration('kill-grace'),
    keep: duration('keep'),
    giveUpAfter: duration('give-up-after'),
    spoolMax: size('spool'),
    maxOutput: size('max-output'),
    // The parser allows only these values.
    waitFor: args.text('wait') as RunOptions['waitFor'],
    capture: args.text('capture') as RunOptions['capture'],
    overflow: args.text('overflow') as RunOptions['overflow'],
  } as RunOptions;
}
