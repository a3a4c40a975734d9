import { readFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { UsageError, type Command } from './command.js';
import { closed, keepIgnored } from './signals.js';

/** Loaded when called, so that `wirelab --help` does not wait for the page's server. */
const commands: Record<string, () => Promise<{ command: Command }>> = {
  show: () => import('./commands/show.js'),
  serve: () => import('./commands/serve.js'),
  call: () => import('./commands/call.js'),
  chat: () => import('./commands/chat.js'),
  inspect: () => import('./commands/inspect.js'),
  chaos: () => import('./commands/chaos.js'),
  probe: () => import('./commands/probe.js'),
  replay: () => import('./commands/replay.js'),
  page: () => import('./commands/page.js'),
};

const usage = 2;

async function main([name, ...words]: string[]): Promise<number> {
  if (name === '--version' || name === '-V') {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    process.stdout.write(`${version}\n`);
    return 0;
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(`${await overview()}\n`);
    return 0;
  }
  if (name === undefined) throw new UsageError('which command?');
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!load) throw new UsageError(`there is no command "${name}": there are ${Object.keys(commands).join(', ')}`);
  const { command } = await load();
  const own = words.slice(0, words.includes('--') ? words.indexOf('--') : undefined);
  if (own.includes('--help') || own.includes('-h')) {
    process.stdout.write(`${command.help}\n`);
    return 0;
  }
  return command.run(words);
}

async function overview(): Promise<string> {
  const lines = await Promise.all(
    Object.entries(commands).map(async ([name, load]) => `  ${name.padEnd(9)}${(await load()).command.summary}`),
  );
  return `wirelab: what was really on the wire\n\n${lines.join('\n')}\n\nwirelab COMMAND --help tells more, with an example`;
}

/** What Node has put in the place of a stdout that was closed would take everything and keep nothing. */
function refuseOutput(): void {
  const stdout = new Writable({ write: (_chunk, _encoding, done) => done(new Error('it is closed')) });
  Object.defineProperty(process, 'stdout', { value: stdout });
}

/** An error in one sentence, with the next step where the system has refused files. */
function sentenceOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const refused = /\bE[MN]FILE\b/.exec(message)?.[0];
  return refused
    ? `this process may not open more files (${refused}): raise its limit, for example with "ulimit -n 1024"`
    : message;
}

keepIgnored();
if (closed.has(1)) refuseOutput();
// Our own words beside the output are no loss.
process.stderr.on('error', () => undefined);
// A reader of our output that has gone (| head) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  process.stderr.write(`wirelab: the output cannot be written: ${error.code ?? error.message}\n`);
  process.exit(1);
});

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`wirelab: ${sentenceOf(error)}\n`);
  if (error instanceof UsageError) process.stderr.write('wirelab --help tells what there is\n');
  process.exitCode = error instanceof UsageError ? usage : 1;
}
