import { connect, UsageError, type Host, type Run } from '../../index.js';
import type { Arguments, Command } from '../command.js';
import { follow } from '../follow.js';
import { noteRun } from '../history.js';
import { watchSignals } from '../interrupt.js';
import { json, say } from '../print.js';
import { runOptions, toRunOptions } from '../run-options.js';

export const run: Command = {
  name: 'run',
  usage: 'TARGET -- PROGRAM [ARGUMENT…]',
  summary: 'run a program with exactly these arguments; no shell is involved',
  example: 'sendall run web1 --timeout 30s -- df -h /',
  options: runOptions,
  complete: 'host',
  async run(args) {
    const target = oneTarget(args, 'run');
    const argv = args.rest;
    if (!argv?.length) throw new UsageError('put "--" and the command after the target: sendall run web1 -- df -h');
    return await start(args, target, (host) => host.run(argv, toRunOptions(args)));
  },
};

export const sh: Command = {
  name: 'sh',
  usage: "TARGET -c 'TEXT'",
  summary: 'run shell text with the host’s /bin/sh: another verb than run, another permission',
  example: "sendall sh web1 -c 'df -h | tail -1'",
  options: { ...runOptions, command: { value: 'TEXT', short: 'c', help: 'the shell text' } },
  complete: 'host',
  async run(args) {
    const target = oneTarget(args, 'sh');
    const script = args.bytes('command').at(-1);
    if (!script) throw new UsageError("sh needs its text: sendall sh web1 -c 'df -h | tail -1'");
    if (args.rest?.length) throw new UsageError('sh takes its text after -c, and nothing after "--"');
    return await start(args, target, (host) => host.sh(script, toRunOptions(args)));
  },
};

function oneTarget(args: Arguments, verb: string): string {
  const [target, extra] = args.words;
  if (target === undefined) throw new UsageError(`${verb} needs a target: local, or a name from "sendall hosts"`);
  if (extra !== undefined)
    throw new UsageError(
      `"${extra}" stands before "--": put the command after it (sendall ${verb} ${target} -- ${extra} …)`,
    );
  return target;
}

async function start(args: Arguments, target: string, begin: (host: Host) => Run): Promise<number> {
  await using host = await connect(target);
  const running = begin(host);
  noteRun(running.runId, target, args.text('name'));
  if (args.on('detach')) return await leave(args, running);
  return await accompany(running, args);
}

/** Shows the run to its end, unless Ctrl-C or SIGHUP detach from it. */
export async function accompany(running: Run, args: Arguments, only?: 'stdout' | 'stderr'): Promise<number> {
  const signals = watchSignals(running);
  try {
    const options = { json: args.on('json'), quiet: args.on('quiet'), encoding: args.text('encoding'), only };
    const ended = follow(running, options);
    const left = await Promise.race([ended.then((code) => ({ code })), signals.detached]);
    if (left) return left.code;
    await running.detach();
    if (!args.on('quiet')) say(`sendall: detached; it goes on: sendall attach ${running.runId}`);
    return 0;
  } finally {
    signals.off();
  }
}

async function leave(args: Arguments, running: Run): Promise<number> {
  if (!args.on('json')) process.stderr.write(`${running.runId}\n`);
  try {
    const { pid } = await running.started;
    if (args.on('json')) json({ event: 'started', host: running.host, runId: running.runId, pid });
    if (args.on('stdin')) await new Promise((resolve) => running.stdin.once('finish', resolve).once('close', resolve));
    await running.detach();
    return 0;
  } catch {
    return await follow(running, { json: args.on('json'), quiet: args.on('quiet'), encoding: undefined });
  }
}
