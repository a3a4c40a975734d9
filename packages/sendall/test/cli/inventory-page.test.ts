/** docs/sendall/inventory.md: its files are written and its commands run, as they stand there and in that order. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { patience } from '../../../../test/support/waits.js';
import { removeFolder } from '../remove-home.js';
import { SENDALL } from './support.js';

const page = readFileSync(new URL('../../../../docs/sendall/inventory.md', import.meta.url), 'utf8');
let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'sendall-page-'));
});
afterAll(() => removeFolder(home));

/** Runs a line as a user of this home; `sendall` is our program. */
function run(line: string) {
  const { SENDALL_HOME: _, XDG_CONFIG_HOME: __, XDG_STATE_HOME: ___, ...env } = process.env;
  const text = `sendall() { "$NODE" "$SENDALL" "$@"; }\n${line}`;
  const { status, stdout, stderr } = spawnSync('bash', ['-o', 'pipefail', '-c', text], {
    env: { ...env, HOME: home, NODE: process.execPath, SENDALL },
    encoding: 'utf8',
    timeout: patience(20_000),
  });
  return { status, stdout, stderr };
}

/** The page's files, named in the line before them, and its command lines. */
const steps = [...page.matchAll(/(?:`(~\/[^`\n]+)`:\n\n)?^```(\w+)\n(.*?)^```$/gms)].flatMap(
  ([, file, language, text = '']): { file?: string; text: string }[] =>
    file !== undefined
      ? [{ file, text }]
      : language === 'sh'
        ? text
            .trim()
            .split('\n')
            .map((line) => ({ text: line }))
        : [],
);

test(
  'each file of the page can be read and each command line does what its comment says',
  { timeout: patience(180_000) },
  () => {
    expect(steps.length).toBeGreaterThan(15);
    for (const { file, text } of steps) {
      if (file !== undefined) {
        const path = file.replace('~', home);
        mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
        writeFileSync(path, text, { mode: 0o600 });
        continue;
      }
      const { status, stdout, stderr } = run(text);
      expect({ line: text, status, stderr }).toEqual({ line: text, status: 0, stderr: '' });
      const [, format] = /# (ansible|ssh)$/.exec(text) ?? [];
      if (format) expect(stdout).toContain(`(${format})`);
      const [, set] = /nodeset .*# (\S+)$/.exec(text) ?? [];
      if (set) expect(stdout).toBe(`${set}\n`);
    }
    expect(run("sendall hosts nodeset -ll '@east,@cpu,gitserver'").stdout.split('\n').slice(0, 2)).toEqual([
      '@compute node[32-155]',
      '@cpu node[32-155]',
    ]);
    expect(run('sendall run web001 -- true')).toMatchObject({
      status: 202,
      stderr: expect.stringContaining('is not paired'),
    });
    const again =
      'export SENDALL_HOME=$(mktemp -d)\nsendall hosts import ~/all-hosts.json >&2 && sendall hosts export --yaml';
    expect(run(again).stdout).toBe(readFileSync(join(home, 'all-hosts.yaml'), 'utf8'));
  },
);
