/** `sendall`: finds the command, runs it, and turns what it threw into one sentence and a code. */
import { createRequire } from 'node:module';
import { SendallError } from '../errors.js';
import { closest } from './closest.js';
import { parseArguments, type Command } from './command.js';
import { EXIT } from './exit-codes.js';
import { ownWords } from './own-words.js';
import { answer, say } from './print.js';

/** Each command is loaded when it is asked for. */
const commands: Record<string, () => Promise<Command>> = {
  run: async () => (await import('./commands/run.js')).run,
  sh: async () => (await import('./commands/run.js')).sh,
  ps: async () => (await import('./commands/runs.js')).ps,
  attach: async () => (await import('./commands/runs.js')).attach,
  logs: async () => (await import('./commands/runs.js')).logs,
  wait: async () => (await import('./commands/runs.js')).wait,
  result: async () => (await import('./commands/runs.js')).result,
  kill: async () => (await import('./commands/runs.js')).kill,
  forget: async () => (await import('./commands/runs.js')).forget,
  pair: async () => (await import('./commands/pair.js')).pair,
  hosts: async () => (await import('./commands/hosts.js')).hosts,
  agent: async () => (await import('./commands/agent.js')).agent,
  completion: async () => (await import('./commands/completion.js')).completion,
};

const all = async () => await Promise.all(Object.values(commands).map(async (load) => await load()));

async function find(name: string): Promise<Command | undefined> {
  if (name === 'complete') return (await import('./commands/completion.js')).completeCommand(all);
  return await commands[name]?.();
}

async function help(): Promise<void> {
  answer('sendall: run a command on a machine, and get back every byte of the answer\n');
  const list = await all();
  for (const { name, summary } of list) answer(`  ${name.padEnd(12)}${summary}`);
  answer('\nsendall COMMAND --help tells more. First: sendall agent, then: sendall run local -- uname -a');
}

function helpOf(command: Command): void {
  answer(`${command.summary}\n\n  sendall ${command.name} ${command.usage}\n\nExample\n  ${command.example}\n`);
  const rows = Object.entries(command.options);
  if (rows.length) answer('Options');
  for (const [name, { value, short, optionalValue, help: text }] of rows) {
    const shown = `${short ? `-${short}, ` : '    '}--${name}${value ? (optionalValue ? `[=${value}]` : ` ${value}`) : ''}`;
    answer(`  ${shown.padEnd(34)} ${text}`);
  }
}

async function main(): Promise<number> {
  const words = ownWords();
  const name = words[0] === undefined ? undefined : Buffer.from(words[0]).toString();
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    await help();
    return name === undefined ? EXIT.usage : 0;
  }
  if (name === '--version') {
    const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
    answer(version);
    return 0;
  }
  const command = await find(name);
  if (!command) {
    const near = closest(name, Object.keys(commands));
    say(`sendall: there is no command "${name}"${near ? `: did you mean "${near}"?` : ': see sendall --help'}`);
    return EXIT.usage;
  }
  const args = parseArguments(command, words.slice(1));
  if (args.on('help')) {
    helpOf(command);
    return 0;
  }
  return await command.run(args);
}

function codeOf(error: unknown): number {
  const codes: Record<string, number> = {
    USAGE: EXIT.usage,
    UNREACHABLE: EXIT.unreachable,
    REFUSED: EXIT.refused,
    KEY_CHANGED: EXIT.refused,
    PROTOCOL: EXIT.unreachable,
  };
  return (error instanceof SendallError && codes[error.code]) || 1;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    say(`sendall: ${error instanceof Error ? error.message : String(error)}`);
    if (!(error instanceof SendallError) && process.env.SENDALL_DEBUG && error instanceof Error) say(error.stack ?? '');
    process.exit(codeOf(error));
  },
);
