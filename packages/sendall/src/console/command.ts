/** The command that a page wants to run, turned into a run on one host or on many. */
import { UsageError } from '../errors.js';
import type { Fleet, FleetRun, FleetRunOptions, Host, Run, RunOptions } from '../index.js';
import { LOGIN_SHELL, prepareRun } from '../internal.js';
import type { Asked } from './messages.js';

export type Command = Pick<Asked<'run'>, 'argv' | 'script' | 'loginShell' | 'options'>;
type Options = NonNullable<Command['options']>;

/** What a list of runs shows of the command: its program, and how many other words it has. */
export function programOf({ argv, script }: Command): { program: string; words: number } {
  if (argv?.length) return { program: argv[0]!, words: argv.length - 1 };
  return { program: 'sh', words: script === undefined ? 0 : 2 };
}

/** Begins the command on one host. @throws UsageError when it is wrong. */
export function beginOn(host: Host, command: Command, runId: string | undefined): Run {
  const options: RunOptions = {
    ...onOne(command.options ?? {}),
    ...(runId === undefined ? {} : { runId }),
    stdout: 'ignore',
    stderr: 'ignore',
    reject: false,
  };
  const { argv, script } = worded(command);
  return argv ? host.run(argv, options) : host.sh(script, options);
}

/** The command on many hosts, not begun. @throws UsageError when it is wrong. */
export function planOn(hosts: Fleet, command: Command, runId: string | undefined): FleetRun {
  const { options = {} } = command;
  if (options.pty || command.loginShell) throw new UsageError('a terminal is for one host: a set cannot share it');
  if (options.stdin === 'open') throw new UsageError('stdin that stays open is for one host: give the whole input');
  const { window, batch, canary, maxFail, pause, order } = options;
  const wanted = {
    ...onEach(options),
    ...withoutUndefined({ window, batch, canary, maxFail, pause, order }),
    ...(runId === undefined ? {} : { runId }),
  } as FleetRunOptions;
  const { argv, script } = worded(command);
  return argv ? hosts.run(argv, wanted) : hosts.sh(script, wanted);
}

/** What a host would be sent for the command, which decides what its rules say. @throws UsageError when it is wrong. */
export function specOf(command: Command, isAlone: boolean): Uint8Array {
  const { argv, script } = worded(command);
  const options = (isAlone ? onOne : onEach)(command.options ?? {});
  return prepareRun(argv ? { verb: 'exec', argv } : { verb: 'sh', script }, options).rawSpec;
}

/** Options of a run on one host. */
const onOne = (options: Options): RunOptions => ({
  // Nothing here holds its output: pages only observe, so a command would wait for a reader that never comes.
  overflow: 'drop-old',
  ...shared(options),
  ...own(options),
});

/** Options of the run on each of several hosts. */
const onEach = (options: Options): RunOptions => ({
  ...shared(options),
  ...(options.stdin && options.stdin !== 'open' ? { stdin: inputOf(options.stdin) } : {}),
});

type Worded =
  | { readonly argv: readonly string[]; readonly script?: undefined }
  | { readonly argv?: undefined; readonly script: string };

/** @throws UsageError unless exactly one kind of command is given. */
function worded({ argv, script, loginShell }: Command): Worded {
  const kinds = [argv, script, loginShell].filter((each) => each !== undefined);
  if (kinds.length !== 1) throw new UsageError('a command is argv, or a script, or a login shell: give one of them');
  if (argv) return { argv };
  return { script: script ?? LOGIN_SHELL };
}

/** Options for one host and for many. */
function shared(options: Options): Partial<RunOptions> {
  const { cwd, env, runAs, name, timeout, deadline, idleTimeout, killGrace, capture, overflow, maxOutput, limits } =
    options;
  return withoutUndefined({
    cwd,
    env,
    runAs,
    name,
    timeout,
    deadline,
    idleTimeout,
    killGrace,
    capture,
    overflow,
    maxOutput,
    limits: limits && withoutUndefined(limits),
  }) as Partial<RunOptions>;
}

/** Options for one host only. @throws UsageError for one that is about many. */
function own({ pty, stdin, ...options }: Options): Partial<RunOptions> {
  for (const wrong of ['window', 'batch', 'canary', 'maxFail', 'pause', 'order'] as const)
    if (options[wrong] !== undefined) throw new UsageError(`${wrong} is for several hosts, and this is one`);
  return {
    ...(pty ? { pty: { ...pty, term: 'xterm-256color' } } : {}),
    ...(stdin === undefined ? {} : { stdin: stdin === 'open' ? ('pipe' as const) : inputOf(stdin) }),
  };
}

function inputOf(stdin: Exclude<NonNullable<Options['stdin']>, 'open'>): Uint8Array {
  return 'text' in stdin ? Buffer.from(stdin.text) : Buffer.from(stdin.base64, 'base64');
}

/** Fields that are undefined count as given for some checks of options. */
function withoutUndefined<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}
