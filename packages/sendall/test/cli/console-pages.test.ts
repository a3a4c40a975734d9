/** The console blocks of fleet.md and nats.md: their lines run in one shell, as they stand there and in that order, and print what stands there. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { patience } from '../../../../test/support/waits.js';
import { removeHome } from '../remove-home.js';
import { SENDALL } from './support.js';

/** A page's command lines, each with what it prints. */
function stepsOf(page: string) {
  const text = readFileSync(new URL(`../../../../docs/sendall/${page}`, import.meta.url), 'utf8');
  return [...text.matchAll(/^```console\n(.*?)^```$/gms)].flatMap(([, block = '']) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((step) => ({ line: step.slice(0, step.indexOf('\n')), output: step.slice(step.indexOf('\n') + 1) })),
  );
}

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'sendall-page-'));
});
afterEach(async () => {
  await shell('sendall links stop; for h in ~/fleet/*/; do SENDALL_HOME=$h sendall agent stop --runs; done');
  await shell('p=$(cat ~/fleet/broker.pid); [ "$(cat /proc/$p/comm)" = nats-server ] && kill $p');
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

/** Without what differs each time: ports, keys, ids and figures. */
const stable = (output: string) =>
  output
    .replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT')
    .replaceAll(/SHA256:[\w-]{43}/g, 'KEY')
    .replaceAll(/\b[a-z2-7]{26}\b/g, 'ID')
    .replaceAll(/nats-server [\d.]+|[\d.]+ ms|\d+ hosts? seen/g, 'FIGURE')
    .replaceAll(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, 'RUN')
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'TIME');

const quoted = (line: string) => `'${line.replaceAll("'", `'\\''`)}'`;

test.each([
  ['fleet.md', 20],
  ['nats.md', 10],
])('%s: each command line prints what stands below it', { timeout: 600_000 }, async (page, least) => {
  const steps = stepsOf(page);
  expect(steps.length).toBeGreaterThan(least);
  // A mark goes before the output of each line, and leaves the code of the line before.
  const script = steps.map(({ line }, i) => `code=$?; echo "=== ${i}"; (exit $code); eval ${quoted(line)}`).join('\n');
  const outputs = (await shell(script)).split(/^=== \d+\n/m).slice(1);
  const ran = steps.map(({ line }, i) => ({ line, output: stable(outputs[i] ?? 'it did not run') }));
  expect(ran).toEqual(steps.map(({ line, output }) => ({ line, output: stable(output) })));
});
