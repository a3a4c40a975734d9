/** docker through a folder in which `ssh` is `sendall-ssh`, with a real daemon there, while the agent dies and comes back. */
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { rootTest } from '../../../../test/support/root.js';
import { drawSeed } from '../../../../test/support/seed.js';
import { startDocker } from './docker.js';
import { whilePassing } from './moments.js';
import { MiB, writeRandom } from './trees.js';
import { isFull, LIMIT, TwoMachines } from './two-machines.js';

const BIG = isFull ? 256 * MiB : 16 * MiB;

let machines: TwoMachines;
beforeAll(async () => {
  machines = await TwoMachines.start();
});
afterAll(async () => await machines?.[Symbol.asyncDispose]());

rootTest('docker: a container gets its input, and its output and exit code come back', { timeout: LIMIT }, async () => {
  const seed = drawSeed();
  const { here } = machines;
  await using docker = await startDocker(machines.account!.name);
  // bash reads this file for ssh's commands.
  await machines.bash(`sendall-ssh web1 'echo export DOCKER_HOST=${docker.url} > .bashrc'`);
  const instead = join(here, 'instead');
  mkdirSync(instead);
  symlinkSync(join(here, 'bin/sendall-ssh'), join(instead, 'ssh'));
  const env = { PATH: instead + delimiter + machines.env.PATH, DOCKER_HOST: 'ssh://web1' };
  writeRandom(join(here, 'big'), BIG);
  const back = join(here, 'back');
  mkdirSync(back);
  const run = 'docker run --rm -i --network none tiny';
  await machines.bashWithKills(`${run} cat < big > back/big`, whilePassing(BIG, seed), env);
  expect(readFileSync(join(back, 'big')).equals(readFileSync(join(here, 'big')))).toBe(true);
  expect(await machines.tryBash(`${run} sh -c 'echo err >&2; exit 7'`, env)).toEqual({
    code: 7,
    stdout: '',
    stderr: 'err\n',
  });
});
