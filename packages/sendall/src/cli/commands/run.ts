/** The commands that run a program or shell text, on one host or many. */
import { finished } from 'node:stream/promises';
import { UsageError } from '../../errors.js';
import { newRunId, resolveHome, type Host, type Run } from '../../index.js';
import { noteRun, Turn } from '../../internal.js';
import { accompany } from '../runs/accompany.js';
import { under, type Arguments, type Command } from '../words/command.js';
import { resultJson, unreachedJson } from '../show/event-json.js';
import { EXIT, exitCodeOf } from '../words/exit-codes.js';
import { explain } from '../show/follow.js';
import { json, say } from '../show/print.js';
import { AT_A_TERMINAL, reach, shareOf, wishesOf } from '../hosts/reach.js';
import { runOptions, secretsOf, toRunOptions, type Begin } from '../runs/run-options.js';
import { rolloutFor } from '../words/rollout-options.js';
import { isOneTarget } from '../words/targets.js';
import { showWaiting } from '../show/waiting.js';

export const run: Command = {
  name: 'run',
  usage: '[OPTIONS] TARGETS -- PROGRAM [ARGUMENT…]',
  summary: 'run a program with exactly these arguments; no shell is involved',
  examples: [
    'sendall run local -- uname -a',
    'sendall run web1 --timeout 30s -- df -h /',
    "sendall run 'web[01-03],!web02' --gather -- uname -r",
    'sendall run --explain all --batch 25% -- systemctl restart app',
    'sendall run -d --name nightly web1 -- sleep 5',
  ],
  options: runOptions,
  complete: 'host',
  most: 1,
  async run(args) {
    const targets = targetsOf(args, 'run');
    const argv = args.rest;
    if (!argv?.length)
      throw new UsageError(`put "--" and the command after the target: sendall run ${targets} -- df -h`);
    return await start(args, targets, (on, options) => on.run(argv, options));
  },
};

export const sh: Command = {
  name: 'sh',
  usage: "[OPTIONS] TARGETS -c 'TEXT'",
  summary: 'run shell text with the host’s /bin/sh: another verb than run, another permission',
  examples: ["sendall sh web1 -c 'df -h / | tail -1'"],
  options: {
    ...under('The program', { command: { value: 'TEXT', short: 'c', help: 'the shell text' } }),
    ...runOptions,
  },
  complete: 'host',
  most: 1,
  async run(args) {
    const targets = targetsOf(args, 'sh');
    const script = args.bytes('command').at(-1);
    if (!script) throw new UsageError(`sh needs its text: sendall sh ${targets} -c 'df -h | tail -1'`);
    if (args.rest?.length) throw new UsageError('sh takes its text after -c, and nothing after "--"');
    return await start(args, targets, (on, options) => on.sh(script, options));
  },
};

function targetsOf(args: Arguments, verb: string): string {
  const [targets, extra, ...more] = args.words;
  if (!targets) throw new UsageError(`${verb} needs a target: local, or a name that "sendall hosts" shows`);
  if (extra !== undefined)
    throw new UsageError(
      verb === 'run'
        ? `"${extra}" stands before "--": put the command after it (sendall run ${targets} -- ${[extra, ...more].join(' ')})`
        : `sh takes one word of targets, and "${extra}" is another: join them with a comma, and put the text after -c`,
    );
  return targets;
}

async function start(args: Arguments, targets: string, begin: Begin): Promise<number> {
  const options = { ...toRunOptions(args), ...(await secretsOf(args)) };
  if (args.on('explain') || args.on('only') || !isOneTarget(targets)) {
    const { startMany } = await import('../runs/many.js');
    return await startMany(args, targets, options, begin);
  }
  rolloutFor(args, 1);
  const runId = options.runId ?? newRunId();
  const terminal = args.on('pty') && !args.on('detach') ? await import('../runs/terminal.js') : undefined;
  const own = terminal && (await import('../terminal/own-terminal.js'));
  const joined = own?.hasTerminal() && !args.on('json') && !args.on('stdin');
  const turn = new Turn(options.deadline);
  let host: Host;
  let rest: { deadline?: number };
  try {
    host = await reach(
      targets,
      args,
      turn.dialOptions(joined ? { ...AT_A_TERMINAL, ...wishesOf(args) } : shareOf(args)),
    );
    rest = turn.runOptions();
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    if (!args.on('json') || code === 'USAGE') throw error;
    const refused = code === 'REFUSED' || code === 'KEY_CHANGED';
    json(unreachedJson({ host: targets, runId }, refused ? 'refused' : 'unreachable', message));
    return refused ? EXIT.refused : EXIT.unreachable;
  }
  const running = begin(host, {
    ...options,
    ...rest,
    runId,
    ...(args.on('pty') ? { pty: own?.ownTerminal() ?? true } : {}),
    ...(joined ? { stdin: 'pipe', overflow: options.overflow ?? 'drop-old' } : {}),
  });
  noteRun(resolveHome(), { runId: running.runId, host: targets, name: options.name });
  if (args.on('detach')) return await leave(args, running);
  const typed = showWaiting(host, running, args);
  if (joined && terminal) return await terminal.converse(running, args, { typed });
  return await accompany(running, args);
}

/** Waits until the run has started and its stdin is read. Returns 206 when its id could not be printed. */
async function leave(args: Arguments, running: Run): Promise<number> {
  const { runId, host } = running;
  let isTold = args.on('json') || !say(runId);
  try {
    const { pid } = await running.started;
    if (args.on('json')) isTold = tell({ event: 'started', host, runId, pid });
    if (args.on('stdin')) await finished(running.stdin).catch(() => undefined);
    await running.detach();
    return isTold ? 0 : EXIT.truncated;
  } catch {
    // It never started; its result says why.
    const result = await running;
    if (args.on('json')) json(resultJson(result));
    else explain(result);
    return exitCodeOf(result);
  }
}

/** False when our stdout fails; then the id goes to stderr. */
function tell(started: {
  readonly event: string;
  readonly host: string;
  readonly runId: string;
  readonly pid: number;
}): boolean {
  try {
    json(started);
    return true;
  } catch (error) {
    say(`sendall: ${(error as Error).message}; the command runs: sendall attach ${started.runId}`);
    return false;
  }
}
