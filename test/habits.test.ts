/** `sendall` and `wirelab` have separate parsers with the same habits: the same mistake gets the same sentence. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { patience } from './support/waits.js';

const program = (name: string) => fileURLToPath(new URL(`../packages/${name}`, import.meta.url));
const SENDALL = program('sendall/bin/sendall.js');
const WIRELAB = program('lab/bin/wirelab.js');

/** The exit code and the first line of a program's output. */
function says(file: string, words: readonly string[]): { code: number | null; line: string | undefined } {
  const run = spawnSync(process.execPath, [file, ...words], { encoding: 'utf8', timeout: patience(30_000) });
  return { code: run.status, line: (run.stdout + run.stderr).split('\n')[0] };
}

test.each([
  ['an unknown command', ['nonsuch'], ['nonsuch']],
  ['a slip in a command', ['agnet'], ['inspct']],
  ['a slip in an option', ['agent', '--lissten', 'x'], ['inspect', '--lissten', 'x']],
  ['an unknown letter', ['agent', '-x'], ['inspect', '-x']],
  ['an option without its value at the end', ['agent', '--listen'], ['inspect', '--listen']],
  ['an option where a value should stand', ['agent', '--listen', '--listen=x'], ['inspect', '--listen', '--listen=x']],
  ['a switch with a value', ['hosts', '--json=1'], ['show', '--json=1']],
  ['--version', ['--version'], ['--version']],
])('%s: both say the same', (_what, sendall, wirelab) => {
  const theirs = says(WIRELAB, wirelab);
  const inSendallsWords = theirs.line
    ?.replaceAll('wirelab', 'sendall')
    .replaceAll(/\b(inspect|show)\b/g, sendall[0] === 'agnet' ? 'agent' : (sendall[0] ?? ''))
    .replace('inspct', 'agnet')
    .replace('ADDR', 'URL');
  expect({ ...theirs, line: inSendallsWords }).toEqual(says(SENDALL, sendall));
});

test.each([
  ['sendall', SENDALL, 'hosts'],
  ['wirelab', WIRELAB, 'show'],
])(
  '%s: --help, -h and help NAME show the same page with 0; nothing at all is a wrong command line',
  (_name, file, command) => {
    const page = says(file, [command, '--help']);
    expect(page.code).toBe(0);
    expect(says(file, [command, '-h'])).toEqual(page);
    expect(says(file, ['help', command])).toEqual(page);
    expect(says(file, []).code).toBe(200);
  },
);
