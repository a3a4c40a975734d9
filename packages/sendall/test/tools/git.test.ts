/** git through `sendall-ssh`, while the agent dies and comes back: every object arrives. */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { drawSeed } from '../../../../test/support/seed.js';
import { whilePassing } from './moments.js';
import { contentOf, makeTree, MiB, writeRandom } from './trees.js';
import { isFull, LIMIT, TwoMachines } from './two-machines.js';

const BIG = isFull ? 48 * MiB : 12 * MiB;

let machines: TwoMachines;
beforeAll(async () => {
  machines = await TwoMachines.start();
  await machines.bash(`
    git config --global core.sshCommand sendall-ssh
    git config --global user.name Me
    git config --global user.email me@example.org
    git config --global init.defaultBranch main`);
});
afterAll(async () => await machines?.[Symbol.asyncDispose]());

const git = (folder: string, ...words: string[]): string =>
  execFileSync('git', ['-C', join(machines.here, folder), ...words], { env: machines.env, encoding: 'utf8' }).trim();

/** Without .git, and without folders, which git does not keep by themselves. */
const filesOf = (folder: string) =>
  contentOf(join(machines.here, folder)).filter((line) => !line.startsWith('".git') && !line.endsWith('folder'));

test('git: push, clone, fetch and push again of a repository', { timeout: LIMIT }, async () => {
  const seed = drawSeed();
  const there = join(machines.there, 'project.git');
  const commit = (folder: string, message: string) =>
    machines.bash(`cd ${folder} && git add -A && git commit -qm '${message}'`);
  makeTree(join(machines.here, 'one'), { files: isFull ? 1000 : 100, big: BIG, isOdd: true });
  await machines.bash('git init -q one');
  await commit('one', 'first');
  await machines.bash(
    `sendall-ssh web1 git init -q -b main --bare ${there} && git -C one remote add origin web1:${there}`,
  );
  await machines.bashWithKills('git -C one push -q -u origin main', whilePassing(BIG, seed));
  await machines.bashWithKills(`git clone -q web1:${there} two`, whilePassing(BIG, seed + 1));
  expect(filesOf('two')).toEqual(filesOf('one'));

  writeRandom(join(machines.here, 'two/second'), BIG);
  rmSync(join(machines.here, 'two/folder 0'), { recursive: true });
  await commit('two', 'second');
  await machines.bashWithKills('git -C two push -q', whilePassing(BIG, seed + 2, { times: 1 }));
  await machines.bashWithKills('git -C one fetch -q', whilePassing(BIG, seed + 3, { times: 1 }));
  await machines.bash('git -C one fetch -q && git -C one merge -q --ff-only');
  expect(filesOf('one')).toEqual(filesOf('two'));
  for (const folder of ['one', 'two']) {
    expect(git(folder, 'status', '--porcelain', '--branch')).toBe('## main...origin/main');
    git(folder, 'fsck', '--full', '--strict');
  }
  expect((await machines.bash(`sendall-ssh web1 git -C ${there} fsck --full; git -C two ls-remote`)).stdout).toContain(
    `${git('one', 'rev-parse', 'HEAD')}\trefs/heads/main`,
  );
});
