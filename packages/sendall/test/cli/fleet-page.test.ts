/** docs/sendall/fleet.md: its command lines run in one shell, as they stand there and in that order, and print what stands there. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { patience } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';
import { SENDALL } from './support.js';

const page = readFileSync(new URL('../../../../docs/sendall/fleet.md', import.meta.url), 'utf8');

/** The page's command lines, each with what it prints. */
const steps = [...page.matchAll(/^```console\n(.*?)^```$/gms)].flatMap(([, block = '']) =>
  block
    .split(/^\$ /m)
    .slice(1)
    .map((step) => ({ line: step.slice(0, step.indexOf('\n')), output: step.slice(step.indexOf('\n') + 1) })),
);

let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'sendall-page-'));
});
afterAll(async () => {
  await shell('sendall links stop; for h in ~/fleet/*/; do SENDALL_HOME=$h sendall agent stop --runs; done');
  for (const { name } of readdirSync(join(home, 'fleet'), { withFileTypes: true }).filter((each) => each.isDirectory()))
    await removeHome(join(home, 'fleet', name), 0);
  rmSync(home, { recursive: true, force: true });
});

/** What a shell of this home's user prints, on both streams; `sendall` is our program. */
async function shell(script: string): Promise<string> {
  const { SENDALL_HOME: _, XDG_CONFIG_HOME: __, XDG_STATE_HOME: ___, ...env } = process.env;
  const child = spawn('bash', ['-c', `exec 2>&1\nsendall() { "$NODE" "$SENDALL" "$@"; }\n${script}`], {
    env: { ...env, HOME: home, NODE: process.execPath, SENDALL },
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: patience(120_000),
  });
  return text(child.stdout);
}

/** Without what differs each time: ports, keys, run ids and times. */
const stable = (output: string) =>
  output
    .replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT')
    .replaceAll(/SHA256:[\w-]{43}/g, 'KEY')
    .replaceAll(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, 'RUN')
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'TIME');

const quoted = (line: string) => `'${line.replaceAll("'", `'\\''`)}'`;

test('each command line of the page prints what stands below it', { timeout: 600_000 }, async () => {
  expect(steps.length).toBeGreaterThan(20);
  // A mark goes before the output of each line, and leaves the code of the line before.
  const script = steps.map(({ line }, i) => `code=$?; echo "=== ${i}"; (exit $code); eval ${quoted(line)}`).join('\n');
  const outputs = (await shell(script)).split(/^=== \d+\n/m).slice(1);
  const ran = steps.map(({ line }, i) => ({ line, output: stable(outputs[i] ?? 'it did not run') }));
  expect(ran).toEqual(steps.map(({ line, output }) => ({ line, output: stable(output) })));
});
