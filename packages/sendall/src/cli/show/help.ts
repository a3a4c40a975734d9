/** What --help shows. */
import type { Command } from '../words/command.js';
import { answer, title } from './print.js';

/** Helps with one command. */
export function helpOf(command: Command): void {
  answer(command.summary, '', `  sendall ${command.name} ${command.usage}`.trimEnd());
  answer('');
  title(command.examples.length > 1 ? 'Examples' : 'Example');
  for (const example of command.examples) answer(`  ${example}`);
  const rows = Object.entries(command.options).map(([name, { value, short, optionalValue, help }]) => {
    const shown = value === undefined ? '' : optionalValue ? `[=${value}]` : ` ${value}`;
    return [`${short ? `-${short}, ` : '    '}--${name}${shown}`, help] as const;
  });
  if (!rows.length) return;
  answer('');
  title('Options');
  const width = Math.min(30, Math.max(...rows.map(([left]) => left.length)));
  const indent = ' '.repeat(width + 4);
  for (const [left, help] of rows) {
    const [first = '', ...more] = wrapped(help, (process.stdout.columns || Infinity) - indent.length);
    if (left.length > width) answer(`  ${left}`, indent + first);
    else answer(`  ${left.padEnd(width)}  ${first}`);
    for (const line of more) answer(indent + line);
  }
}

/** Lines of whole words, where they fit. */
function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= columns) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Helps with all of them. */
export function helpOfAll(commands: readonly Command[]): void {
  answer('sendall: run a command on a machine, or on many, and get back every byte of the answer', '');
  answer('  sendall COMMAND [OPTIONS] [WORDS] [-- PROGRAM ARGUMENTS]', '');
  title('Commands');
  for (const { name, summary } of commands) answer(`  ${name.padEnd(12)}${summary}`);
  answer('');
  title('Examples');
  answer('  sendall agent                            serve this machine, in the foreground');
  answer('  sendall run local -- uname -a            run a command through it, from another terminal');
  answer('  sendall pair --new                       let another machine in: shows what to type there');
  answer(
    '',
    'sendall COMMAND --help tells more of a command. TARGETS: local, a name, web[01-20], a,b, @tag, k=v, all, !x, &',
  );
}
