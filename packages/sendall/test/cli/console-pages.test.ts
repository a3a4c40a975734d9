/**
 * The console blocks of fleet.md, nats.md and security.md: their lines run in one shell, as they stand there and in that
 * order, and print what stands there. Files that a page shows are there before the next line.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { patience } from '../../../../test/support/waits.js';
import { rootTest } from '../../../../test/support/root.js';
import { changeAccounts, shellThatWaits } from '../accounts.js';
import { removeFolder, removeHome } from '../remove-home.js';
import { SENDALL } from './support.js';

const textOf = (page: string) => readFileSync(new URL(`../../../../docs/${page}`, import.meta.url), 'utf8');

/** A page's command lines, each with what it prints. A file is a line that writes it. */
function stepsOf(text: string) {
  return [...text.matchAll(/^```console\n(.*?)^```$|^`(~\/\S+)`:\n\n```yaml\n(.*?)^```$/gms)].flatMap(
    ([, block = '', file, content]) =>
      file === undefined
        ? block
            .split(/^\$ /m)
            .slice(1)
            .map((step) => ({ line: step.slice(0, step.indexOf('\n')), output: step.slice(step.indexOf('\n') + 1) }))
        : [{ line: `install -m 600 /dev/stdin ${file} <<'END'\n${content}END`, output: '' }],
  );
}

const PROGRAMS = `sendall() { "$NODE" "$SENDALL" "$@"; }\n${shellThatWaits('useradd')}`;
let home: string;

/** A new home, until the test ends, and so for the agents in it. */
function newHome(): void {
  home = mkdtempSync(join(tmpdir(), 'sendall-page-'));
  onTestFinished(async () => {
    await shell('sendall links stop');
    await shell('for h in ~/fleet/*/; do export SENDALL_HOME=$h; sendall links stop; sendall agent stop --runs; done');
    await shell('p=$(cat ~/fleet/broker.pid); [ "$(cat /proc/$p/comm)" = nats-server ] && kill $p');
    for (const each of readdirSync(join(home, 'fleet'), { withFileTypes: true }).filter((each) => each.isDirectory()))
      await removeHome(join(home, 'fleet', each.name), 0);
    await removeFolder(home);
  }, 120_000);
}

/** What a shell of this home's user prints, on both streams; `sendall` is our program. */
async function shell(script: string): Promise<string> {
  const { SENDALL_HOME: _, XDG_CONFIG_HOME: __, XDG_STATE_HOME: ___, ...env } = process.env;
  const child = spawn('bash', ['-c', `exec 2>&1\n${PROGRAMS}${script}`], {
    env: { ...env, HOME: home, NODE: process.execPath, SENDALL },
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: patience(300_000),
  });
  return text(child.stdout);
}

/** Without what differs each time: the home, ports, keys, ids and figures. */
const stable = (output: string) =>
  output
    .replaceAll(`${home}/`, '/root/')
    .replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT')
    .replaceAll(/SHA256:[\w-]{43}/g, 'KEY')
    .replaceAll(/\b[a-z2-7]{26}\b/g, 'ID')
    .replaceAll(/nats-server [\d.]+|[\d.]+ ms|\d+ hosts? seen/g, 'FIGURE')
    .replaceAll(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, 'RUN')
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'TIME');

const quoted = (line: string) => `'${line.replaceAll("'", `'\\''`)}'`;

/** A page's deadline, for this machine's present speed. */
const patiently = (line: string) => line.replace('--deadline 5s', `--deadline ${patience(5000)}ms`);

/** Runs a page's lines. There are more than `least` of them. */
async function runPage(page: string, least: number): Promise<void> {
  newHome();
  const steps = stepsOf(textOf(page));
  expect(steps.length).toBeGreaterThan(least);
  // A mark goes before the output of each line, and leaves the code of the line before.
  const script = steps
    .map(({ line }, i) => `code=$?; echo "=== ${i}"; (exit $code); eval ${quoted(patiently(line))}`)
    .join('\n');
  const outputs = (await shell(script)).split(/^=== \d+\n/m).slice(1);
  const ran = steps.map(({ line }, i) => ({ line, output: stable(outputs[i] ?? 'it did not run') }));
  expect(ran).toEqual(steps.map(({ line, output }) => ({ line, output: stable(output) })));
}

test.each([
  ['sendall/fleet.md', 20],
  ['sendall/nats.md', 10],
])('%s: each command line prints what stands below it', { timeout: 600_000 }, runPage);

rootTest('security.md: each command line prints what stands below it', { timeout: 600_000 }, async () => {
  const accounts = ['sendall-app', 'sendall-look', 'sendall-robot'];
  // Those of others stay.
  expect(accounts.filter((name) => spawnSync('id', ['-u', name]).status === 0)).toEqual([]);
  onTestFinished(() => {
    for (const name of accounts) if (spawnSync('id', ['-u', name]).status === 0) changeAccounts('userdel', name);
  });
  await runPage('security.md', 30);
});

test('security.md and its Chinese page have the same lines', () => {
  expect(stepsOf(textOf('security.zh-CN.md'))).toEqual(stepsOf(textOf('security.md')));
});

test('security.md names tests that exist', () => {
  const named = [...textOf('security.md').matchAll(/`([a-z]+\/[a-z-]+)`/g)].map(([, name]) => name);
  expect(named.length).toBeGreaterThan(30);
  expect(named.filter((name) => !existsSync(new URL(`../${name}.test.ts`, import.meta.url)))).toEqual([]);
});
