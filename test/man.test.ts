import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const packages = fileURLToPath(new URL('../packages', import.meta.url));
const pages = ['sendall', 'lab'].flatMap((name) =>
  readdirSync(join(packages, name, 'man')).map((file) => join(packages, name, 'man', file)),
);

/** A rendered page, with all complaints of groff. */
const rendered = (page: string) =>
  spawnSync('groff', ['-man', '-ww', '-rCHECKSTYLE=3', '-Kutf8', '-Tutf8', '-P-cbou', page], { encoding: 'utf8' });

/** The output of `--help`. */
const helpOf = (program: string, ...words: string[]) =>
  execFileSync(process.execPath, [join(packages, program, 'bin', `${words[0]}.js`), ...words.slice(1), '--help'], {
    encoding: 'utf8',
  });

/** Names of commands or options at the beginning of a line. */
const names = (text: string) => [...text.matchAll(/^ +(?:-\w, )?(--[\w-]+|\w+(?= {2,}))/gm)].map(([, name]) => name!);

test.each(pages)('%s is a valid manual page', (page) => {
  const { stdout, stderr } = rendered(page);
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^NAME\n/m);
});

test('each command of sendall has a page that shows each option of its help', () => {
  const commands = names(helpOf('sendall', 'sendall').split('Examples')[0]!);
  expect(commands).toContain('run');
  expect(pages.filter((page) => page.includes('/sendall/man/sendall-'))).toHaveLength(commands.length);
  for (const command of commands) {
    const { stdout } = rendered(join(packages, `sendall/man/sendall-${command}.1`));
    const options = names(helpOf('sendall', 'sendall', command)).filter((name) => name.startsWith('--'));
    expect(options.filter((name) => !new RegExp(`^ +(-\\w, )?${name}\\b`, 'm').test(stdout))).toEqual([]);
  }
});

test('the page of wirelab shows each command and each option of its help', () => {
  const { stdout } = rendered(join(packages, 'lab/man/wirelab.1'));
  for (const command of names(helpOf('lab', 'wirelab').split('Examples')[0]!)) {
    const section = stdout.split(`\nWIRELAB ${command.toUpperCase()}\n`)[1]!.split(/\n(?=\S)/, 1)[0]!;
    const options = names(helpOf('lab', 'wirelab', command)).filter((name) => name.startsWith('--'));
    expect(options.filter((name) => !new RegExp(`^ +(-\\w, )?${name}\\b`, 'm').test(section))).toEqual([]);
  }
});
