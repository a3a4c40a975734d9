/** Prints the output of --help. */
import { helpOption, type Command } from './command.js';

/** A heading, bold on a terminal. */
const title = (line: string): string =>
  process.stdout.isTTY && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb'
    ? `\u001b[1m${line}\u001b[0m`
    : line;

/** The help of one command. */
export function helpOf(command: Command): string[] {
  const { name, usage, summary, about, examples } = command;
  const lines = [summary, '', ...usage.map((each) => `  wirelab ${name} ${each}`.trimEnd()), ''];
  if (about.length > 0) lines.push(...about, '');
  lines.push(title(examples.length > 1 ? 'Examples' : 'Example'), ...examples.map((example) => `  ${example}`), '');
  const rows = Object.entries({ ...command.options, help: helpOption }).map(([option, { value, help, group }]) => ({
    group: group ?? 'Options',
    left: `--${option}${value === undefined ? '' : ` ${value}`}`,
    help,
  }));
  const width = Math.min(30, Math.max(...rows.map(({ left }) => left.length)));
  const indent = ' '.repeat(width + 4);
  for (const group of new Set(rows.map((row) => row.group))) {
    lines.push(title(group));
    for (const { left, help } of rows.filter((row) => row.group === group)) {
      const [first = '', ...more] = wrapped(help, (process.stdout.columns || 120) - indent.length);
      if (left.length > width) lines.push(`  ${left}`, indent + first);
      else lines.push(`  ${left.padEnd(width)}  ${first}`);
      lines.push(...more.map((line) => indent + line));
    }
    lines.push('');
  }
  return lines.slice(0, -1);
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

/** The overview of all commands. */
export function helpOfAll(commands: readonly Command[]): string[] {
  return [
    'wirelab: what was really on the wire',
    '',
    '  wirelab COMMAND [OPTIONS] [WORDS]',
    '',
    title('Commands'),
    ...commands.map(({ name, summary }) => `  ${name.padEnd(12)}${summary}`),
    '',
    title('Examples'),
    '  wirelab show sticky                      three sends, one read: why messages stick together',
    '  wirelab inspect --listen 7000 --to 8080 --framing guess',
    '                                           what passes between a client and a server',
    '  wirelab probe 127.0.0.1:8080 --framing lines --request 68690a',
    '                                           which cuts of a request break the server',
    '',
    'wirelab COMMAND --help tells more about a command.',
  ];
}
