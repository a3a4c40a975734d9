/** `wirelab`: finds the command, runs it, and turns an error into one sentence and an exit code. */
import { readFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { allCommands, commands } from './command-table.js';
import { EXIT, exitCodeOf } from './exit-codes.js';
import { closed, keepIgnored } from './signals.js';

async function main(words: string[]): Promise<number> {
  const { parseArguments, UsageError } = await import('./command.js');
  const { print } = await import('./output.js');
  const [first, second] = words;
  const name = first === 'help' && second !== undefined ? second : first;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    await print(...(await import('./help.js')).helpOfAll(await allCommands()));
    return name === undefined ? EXIT.usage : EXIT.ok;
  }
  if (name === '--version' || name === '-V') {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    await print(version);
    return EXIT.ok;
  }
  // For the shells' completion scripts, not for people.
  if (name === 'complete') {
    await print(
      ...(await import('./completion.js')).complete(await allCommands(), words.slice(words.indexOf('--') + 1)),
    );
    return EXIT.ok;
  }
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!load) {
    const { closest } = await import('./closest.js');
    const near = closest(name, Object.keys(commands));
    const hint = near === undefined ? 'see wirelab --help' : `did you mean "wirelab ${near}"?`;
    throw new UsageError(`there is no command "${name}": ${hint}`);
  }
  const { command } = await load();
  const args = first === 'help' ? undefined : parseArguments(command, words.slice(1));
  if (args === undefined || args.on('help')) {
    await print(...(await import('./help.js')).helpOf(command));
    return EXIT.ok;
  }
  return command.run(args);
}

/** Node replaces a closed stdout with a descriptor that discards everything, so fail instead. */
function refuseOutput(): void {
  const stdout = new Writable({ write: (_chunk, _encoding, done) => done(new Error('it is closed')) });
  Object.defineProperty(process, 'stdout', { value: stdout });
}

/** An error in one sentence, with the next step when the system refused to open files. */
function sentenceOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const refused = /\bE[MN]FILE\b/.exec(message)?.[0];
  return refused
    ? `this process may not open more files (${refused}): raise its limit, for example with "ulimit -n 1024"`
    : message;
}

function say(sentence: string): void {
  process.stderr.write(`wirelab: ${sentence.replaceAll(/\p{Cc}+/gu, ' ')}\n`);
}

keepIgnored();
if (closed.has(1)) refuseOutput();
// Losing our own messages on stderr is harmless.
process.stderr.on('error', () => undefined);
// The reader of our output has closed it (| head): it wants no more, but it has not seen everything.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.brokenPipe);
  say(`the output cannot be written: ${error.code ?? error.message}`);
  process.exit(EXIT.truncated);
});

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  say(sentenceOf(error));
  process.exitCode = exitCodeOf(error);
}
