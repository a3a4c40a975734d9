/** `sendall`: finds the command, runs it, and turns an error into one sentence and an exit code. */
import { allCommands, commandGroups, commands } from './command-table.js';
import { Arguments, parseArguments, textOf, type Command } from './words/command.js';
import { exit } from './leaving/exit.js';
import { namingHost } from './words/about-host.js';
import { EXIT, exitCodeOfError } from './words/exit-codes.js';
import { ownWords } from '../internal.js';
import { answer, OutputError, say } from './show/print.js';
import { withNextStep } from './show/scarce.js';
import { keepIgnored } from './leaving/signals.js';
import { ownVersion } from './version.js';

/** Words that users of other programs type. */
const HABITS: Readonly<Record<string, string>> = { exec: 'run', ls: 'ps', list: 'ps', rm: 'forget' };

async function find(name: string): Promise<Command | undefined> {
  // For the shells' completion scripts and for `hosts install`, not for people.
  if (name === 'complete') return (await import('./commands/completion.js')).completeCommand(allCommands);
  if (name === 'settle') return (await import('./install/settle.js')).settleCommand;
  return Object.hasOwn(commands, name) ? await commands[name]?.() : undefined;
}

/** A suggestion for a word that is no command. */
async function hintAt(name: string, words: readonly string[]): Promise<string> {
  const line = (await import('./hosts/misplaced.js')).misplacedHost(name, words);
  if (line !== undefined) return `it is a host; did you mean "${line}"?`;
  const near = HABITS[name] ?? (await import('./words/closest.js')).closest(name, Object.keys(commands));
  return near ? `did you mean "sendall ${near}"?` : 'see sendall --help';
}

/** `--identity NAME` may stand before the command too. */
function identityBehind(words: readonly Uint8Array[]): readonly Uint8Array[] {
  const [first, second, ...rest] = words;
  if (!first || !second || !/^--identity(=|$)/.test(textOf(first))) return words;
  if (first.includes(0x3d)) return [second, first, ...rest];
  const [command, ...behind] = rest;
  return command ? [command, first, second, ...behind] : words;
}

async function main(): Promise<number> {
  const words = identityBehind(ownWords());
  const [first, second] = words.slice(0, 2).map(textOf);
  const name = first === 'help' && second !== undefined ? second : first;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    (await import('./show/help.js')).helpOfAll(await commandGroups());
    return name === undefined ? EXIT.usage : 0;
  }
  if (name === '--version' || name === '-V') {
    answer(ownVersion());
    return 0;
  }
  const command = await find(name);
  if (!command) {
    say(`sendall: there is no command "${name}": ${await hintAt(name, words.slice(1).map(textOf))}`);
    return EXIT.usage;
  }
  const args = first === 'help' ? undefined : argumentsOf(command, words.slice(1));
  if (!args || args.on('help')) {
    (await import('./show/help.js')).helpOf(command);
    return 0;
  }
  return await command.run(args);
}

/** Undefined when help is asked for. */
function argumentsOf(command: Command, words: readonly Uint8Array[]): Arguments | undefined {
  if (!command.parsesItself) return parseArguments(command, words);
  return words[0] && textOf(words[0]) === '--help' ? undefined : new Arguments(new Map(), [], words);
}

function fail(error: unknown): number {
  if (error instanceof OutputError && error.gone) return EXIT.brokenPipe;
  // The command's stderr has been shown already.
  const { shortMessage } = error as { shortMessage?: string };
  const message = shortMessage ?? (error instanceof Error ? error.message : String(error));
  say(`sendall: ${namingHost(error, withNextStep(message))}`);
  if (process.env.SENDALL_DEBUG && error instanceof Error)
    for (const line of (error.stack ?? '').split('\n')) say(line);
  return exitCodeOfError(error);
}

keepIgnored();
// Anything still open (a pipe on stdin, a socket) does not matter any more.
void main().catch(fail).then(exit);
