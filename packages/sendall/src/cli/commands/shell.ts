/** The command that opens a login shell on a host. */
import { UsageError } from '../../errors.js';
import { resolveHome } from '../../home.js';
import { LOGIN_SHELL, noteRun } from '../../internal.js';
import type { Command } from '../words/command.js';
import { isInForeground } from '../terminal/foreground.js';
import { hasTerminal, ownTerminal } from '../terminal/own-terminal.js';
import { echoOptions } from '../terminal/predicted-echo.js';
import { AT_A_TERMINAL, reach, reachOptions } from '../hosts/reach.js';
import { parseLimits } from '../words/limit-words.js';
import { isOneTarget } from '../words/targets.js';
import { secretsOf, surroundings } from '../runs/run-options.js';
import { converse } from '../runs/terminal.js';
import { showWaiting } from '../show/waiting.js';

export const shell: Command = {
  name: 'shell',
  usage: '[OPTIONS] TARGET',
  summary: 'a terminal on a host; ~. leaves and ends the shell, ~d detaches, ~? helps',
  examples: ['sendall shell web1'],
  options: {
    ...surroundings,
    name: { value: 'NAME', help: 'a name to find it by' },
    quiet: { short: 'q', help: 'print no messages of our own' },
    ...echoOptions,
    ...reachOptions,
  },
  complete: 'host',
  most: 1,
  async run(args) {
    const [target, extra] = args.words;
    if (target === undefined || extra !== undefined || args.rest?.length)
      throw new UsageError('shell takes one target and nothing else: sendall shell web1');
    if (!isOneTarget(target)) throw new UsageError('shell is for one host: a terminal cannot be shared by a set');
    if (!isInForeground())
      throw new UsageError('shell needs the terminal, which another job has: start it without "&"');
    if (!hasTerminal()) throw new UsageError('shell needs a terminal: without one use sendall run or sendall sh');
    const secrets = await secretsOf(args);
    await using host = await reach(target, args, AT_A_TERMINAL);
    const running = host.sh(LOGIN_SHELL, {
      pty: ownTerminal(),
      stdin: 'pipe',
      // A detached shell never waits for us, like a window of tmux; the host keeps its most recent output.
      overflow: 'drop-old',
      reject: false,
      env: args.bytes('env'),
      ...(args.on('cwd') ? { cwd: args.bytes('cwd').at(-1)! } : {}),
      runAs: args.text('as'),
      limits: parseLimits(args.texts('limit')),
      name: args.text('name'),
      ...secrets,
    } as Parameters<typeof host.sh>[1]);
    noteRun(resolveHome(), { runId: running.runId, host: target, name: args.text('name') });
    return await converse(running, args, { typed: showWaiting(host, running, args) });
  },
};
