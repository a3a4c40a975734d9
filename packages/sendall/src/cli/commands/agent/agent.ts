/** The agent: runs in the foreground, or asks the running one. */
import { existsSync, readFileSync } from 'node:fs';
import { isatty } from 'node:tty';
import { UsageError } from '../../../errors.js';
import { connect, openAgent, type AgentStatus } from '../../../index.js';
import { startAgent, stopAgent } from '../../hosts/agent-process.js';
import { notAVerb, type Arguments, type Command } from '../../words/command.js';
import { engineFilesOf, engineOptions, engineWords } from '../../words/engine-options.js';
import { answer, json, say } from '../../show/print.js';
import { onSignal } from '../../leaving/signals.js';
import { tooFewFiles } from '../../show/scarce.js';
import { count } from '../../words/units.js';
import { journalDamage } from '../../runs/journal-damage.js';
import { agentLimits, limitRows, limitWords } from './agent-limits.js';

export const agent: Command = {
  name: 'agent',
  usage: '[OPTIONS] [stop | restart | status | install --systemd | install --system]',
  summary: 'serve this machine in the foreground, or stop, restart or query the running agent',
  examples: ['sendall agent --listen tls://0.0.0.0:7433', 'sendall agent restart --listen tls://0.0.0.0:7433'],
  options: {
    listen: {
      value: 'URL',
      help: 'also listen on tls://HOST:PORT, or behind a broker: nats://HOST:PORT,…; with restart: replaces the old addresses',
    },
    limit: {
      value: 'NAME=VALUE',
      help: 'how much callers may take, such as connections=8192: see Limits; with restart: replaces this limit alone',
      complete: 'agent-limit',
    },
    name: { value: 'NAME', help: 'the name shown to callers (default: the host name)' },
    systemd: { help: 'with install: write units for the agent and the keeper' },
    system: { help: 'with install: the same as root, for callers who are no owners; another user is refused' },
    into: { value: 'DIR', help: 'with install: write them there', complete: 'folder' },
    runs: { help: 'with stop: end the running commands too' },
    json: { help: 'one JSON object a line on stdout' },
    ...engineOptions,
  },
  tables: { Limits: limitRows },
  subcommands: ['stop', 'restart', 'status', 'install'],
  async run(args) {
    const [verb, extra] = args.words;
    if (extra !== undefined) throw new UsageError(`agent does not know what "${extra}" means here`);
    if (verb === undefined) return await foreground(args);
    if (verb === 'stop') return await stop(args);
    if (verb === 'status') return await status(args);
    if (verb === 'restart') return await restart(args);
    if (verb === 'install') return (await import('./agent-install.js')).install(args);
    throw notAVerb('agent', verb, this.subcommands!);
  },
};

async function foreground(args: Arguments): Promise<number> {
  const few = existsSync('/proc/self/limits') && tooFewFiles(readFileSync('/proc/self/limits', 'latin1'));
  if (few) throw new UsageError(few);
  const name = args.text('name');
  const broker = engineFilesOf(args);
  const running = await openAgent({
    listen: args.texts('listen'),
    broker,
    ...agentLimits(args.texts('limit')),
    ...(name === undefined ? {} : { name }),
  });
  for (const url of running.listening) say(`listening ${url}`);
  for (const { url, reason } of running.unreached) say(`${url}: ${reason}; trying again`);
  const damage = journalDamage(running.setAside);
  if (damage) say(`${damage.found}: ${damage.mend}`);
  const end = () => void running.close();
  onSignal('SIGINT', end);
  onSignal('SIGTERM', end);
  // Without a terminal, a hang-up is not meant for us.
  onSignal('SIGHUP', isatty(2) ? end : () => undefined);
  await running.stopped;
  return 0;
}

async function stop(args: Arguments): Promise<number> {
  await using host = await connect('local');
  const said = await host.ask<{ runs: number; ended: number }>('stop', { runs: args.on('runs') });
  if (args.on('json')) json(said);
  else if (said.runs)
    say(`the agent stops; ${said.runs} running ${said.runs === 1 ? 'command goes' : 'commands go'} on in the keeper`);
  else say(said.ended ? `the agent stops; it has ended ${count(said.ended, 'command')}` : 'the agent stops');
  return 0;
}

async function status(args: Arguments): Promise<number> {
  await using host = await connect('local');
  const said = await host.ask<AgentStatus>('status');
  if (args.on('json')) json(said);
  else {
    answer(
      `agent ${said.name} ${said.version}, pid ${said.pid}, keeper ${said.keeperPid ?? 'not running'}, ${count(said.runs, 'command')} now`,
    );
    for (const url of said.listening) answer(`listening ${url}`);
    for (const { url, reason } of said.unreached ?? []) answer(`not connected: ${url}: ${reason}`);
    answer(`key ${said.fingerprint}`);
    if (said.policy?.problem !== undefined)
      answer(`the policy is broken, so callers who are no owners start nothing: ${said.policy.problem}`);
    else if (said.policy?.rules) answer(`policy ${count(said.policy.rules, 'rule')}`);
    if (said.callersProblem !== undefined) answer(`nobody is let in over the network: ${said.callersProblem}`);
    const damage = journalDamage(said.setAside);
    if (damage) answer(`${damage.found}: ${damage.mend}`);
  }
  return 0;
}

/** Commands go on in the keeper meanwhile; the new agent has this program's version and runs in the background. */
async function restart(args: Arguments): Promise<number> {
  const chosen = args.texts('limit');
  agentLimits(chosen);
  const before = await stopAgent();
  const asked = args.texts('listen');
  const urls = asked.length ? asked : before.listening.filter((url) => !url.startsWith('unix:'));
  const files = engineFilesOf(args);
  // An agent from before an upgrade may not say it.
  const broker = Object.keys(files).length ? files : (before.broker ?? {});
  const words = [
    '--name',
    args.text('name') ?? before.name,
    ...urls.flatMap((url) => ['--listen', url]),
    // A limit that is given again replaces what it was.
    ...limitWords(before.givenLimits ?? {}),
    ...chosen.flatMap((word) => ['--limit', word]),
    ...engineWords(broker),
  ];
  const pid = await startAgent(words);
  await using host = await connect('local');
  const { listening } = await host.ask<AgentStatus>('status');
  if (args.on('json')) json({ pid, listening });
  else say(`the agent is running again, pid ${pid}`);
  return 0;
}
