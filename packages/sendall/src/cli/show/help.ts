/** Prints the output of --help. */
import { flagOf, type Command, type Option } from '../words/command.js';
import { answer, title } from './print.js';

/** Prints the help of one command. */
export function helpOf(command: Command): void {
  const forms = [command.usage].flat().map((usage) => `  sendall ${command.name} ${usage}`.trimEnd());
  answer(command.summary, '', ...forms);
  answer('');
  title(command.examples.length > 1 ? 'Examples' : 'Example');
  for (const example of command.examples) answer(`  ${example}`);
  const rows = Object.entries(command.options).map(([name, option]) => ({
    group: option.group ?? 'Options',
    left: `${leftOf(name, option)}${valueOf(option)}`,
    help: option.help,
  }));
  for (const [group, table] of Object.entries(command.tables ?? {}))
    for (const [word, help] of Object.entries(table)) rows.push({ group, left: word, help });
  if (!rows.length) return;
  const width = Math.min(30, Math.max(...rows.map(({ left }) => left.length)));
  const indent = ' '.repeat(width + 4);
  for (const group of new Set(rows.map((row) => row.group))) {
    answer('');
    title(group);
    for (const { left, help } of rows.filter((row) => row.group === group)) {
      const [first = '', ...more] = wrapped(help, (process.stdout.columns || Infinity) - indent.length);
      if (left.length > width) answer(`  ${left}`, indent + first);
      else answer(`  ${left.padEnd(width)}  ${first}`);
      for (const line of more) answer(indent + line);
    }
  }
}

function leftOf(name: string, { short }: Option): string {
  if (name.length === 1) return flagOf(name);
  return `${short ? `-${short}, ` : '    '}${flagOf(name)}`;
}

function valueOf({ value, optionalValue }: Option): string {
  if (value === undefined) return '';
  return optionalValue ? `[=${value}]` : ` ${value}`;
}

/** Breaks text into lines between words. */
function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= columns) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Prints the overview of all commands. */
export function helpOfAll(groups: ReadonlyMap<string, readonly Command[]>): void {
  answer('sendall: run a command on a machine, or on many, and get back every byte of the answer', '');
  answer('  sendall COMMAND [OPTIONS] [WORDS] [-- PROGRAM ARGUMENTS]', '');
  for (const [heading, commands] of groups) {
    title(heading);
    for (const { name, summary } of commands) answer(`  ${name.padEnd(12)}${summary}`);
    answer('');
  }
  title('Examples');
  answer('  sendall agent                            serve this machine, in the foreground');
  answer('  sendall run local -- uname -a            run a command through it, from another terminal');
  answer('  sendall pair --new                       let another machine in: shows what to type there');
  answer(
    '',
    'sendall COMMAND --help describes a command. TARGETS: local, a name, web[01-20], web*, a,b, @tag, k=v, all, !x, &, ^',
  );
}
