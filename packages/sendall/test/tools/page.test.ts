/**
 * The console blocks of with-your-tools.md: their lines run in one shell, as they stand there and in that order, with the
 * real programs, and print what stands there.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rootTest } from '../../../../test/support/root.js';
import { startDocker } from './docker.js';
import { LIMIT, TwoMachines } from './two-machines.js';

const textOf = (page: string) => readFileSync(new URL(`../../../../docs/${page}`, import.meta.url), 'utf8');

/** A page's command lines, each with what it prints. */
const stepsOf = (page: string) =>
  [...textOf(page).matchAll(/^```console\n(.*?)^```$/gms)].flatMap(([, block = '']) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((step) => ({ line: step.slice(0, step.indexOf('\n')), output: step.slice(step.indexOf('\n') + 1) })),
  );

const quoted = (line: string) => `'${line.replaceAll("'", `'\\''`)}'`;

let machines: TwoMachines;
beforeAll(async () => {
  machines = await TwoMachines.start();
});
afterAll(async () => await machines?.[Symbol.asyncDispose]());

// As root the host's account has a home of its own, where the page's relative paths begin.
rootTest('each command line prints what stands below it', { timeout: LIMIT }, async () => {
  await using docker = await startDocker(machines.account!.name);
  writeFileSync(join(machines.there, '.bashrc'), `export DOCKER_HOST=${docker.url}\n`);
  writeFileSync(join(machines.here, '.gitconfig'), '[user]\nname = Me\nemail = me@example.org\n');
  const steps = stepsOf('with-your-tools.md');
  expect(steps.length).toBeGreaterThan(20);
  const lines = steps.map(({ line }, i) => `echo "=== ${i}"; eval ${quoted(line)}`);
  const { stdout } = await machines.tryBash(`exec 2>&1; shopt -s expand_aliases\n${lines.join('\n')}`);
  const outputs = stdout.split(/^=== \d+\n/m).slice(1);
  expect(steps.map(({ line }, i) => ({ line, output: outputs[i] ?? 'it did not run' }))).toEqual(steps);
});

test('the Chinese page has the same lines', () =>
  expect(stepsOf('with-your-tools.zh-CN.md')).toEqual(stepsOf('with-your-tools.md')));
