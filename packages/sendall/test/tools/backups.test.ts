/** borg and restic through `sendall-ssh`, while the agent dies and comes back: what is restored is what was backed up. */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { drawSeed } from '../../../../test/support/seed.js';
import { whilePassing } from './moments.js';
import { contentOf, makeTree, MiB } from './trees.js';
import { isFull, LIMIT, TwoMachines } from './two-machines.js';

const BIG = isFull ? 512 * MiB : 24 * MiB;

let machines: TwoMachines;
beforeAll(async () => {
  machines = await TwoMachines.start();
  makeTree(join(machines.here, 'site'), { files: isFull ? 5000 : 150, big: BIG, isOdd: true, isSpecial: true });
});
afterAll(async () => await machines?.[Symbol.asyncDispose]());

/** An empty folder to restore to. */
function emptyFolder(): string {
  const folder = join(machines.here, 'restored');
  mkdirSync(folder);
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

const exact = (folder: string) => contentOf(folder, { isExact: true });
/** How files lie on the disk is up to the program. */
const withoutHoles = (lines: readonly string[]) => lines.map((line) => line.replace(/ with holes$/, ''));

test('borg: create, check and extract', { timeout: LIMIT }, async () => {
  const seed = drawSeed();
  const restored = emptyFolder();
  const there = join(machines.there, 'borg');
  const env = {
    BORG_RSH: 'sendall-ssh',
    BORG_REPO: `ssh://web1${there}`,
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes',
  };
  await machines.bash('borg init -e none', env);
  await machines.bashWithKills('cd site && borg create -C none ::monday .', whilePassing(BIG, seed), env);
  const extract = 'cd restored && borg extract --sparse ::monday';
  await machines.bashWithKills(extract, whilePassing(BIG, seed + 1), env);
  expect(exact(restored)).toEqual(exact(join(machines.here, 'site')));
  await machines.bash('borg check --verify-data', env);
});

test('restic: backup, check and restore by sftp', { timeout: LIMIT }, async () => {
  const seed = drawSeed();
  const restored = emptyFolder();
  const there = join(machines.there, 'restic');
  const env = { RESTIC_REPOSITORY: `sftp:web1:${there}`, RESTIC_PASSWORD: 'secret' };
  const restic = `restic -q -o sftp.command='sendall-ssh web1 -s sftp'`;
  await machines.bash(`${restic} init`, env);
  await machines.bashWithKills(`cd site && ${restic} backup .`, whilePassing(BIG, seed), env);
  const restore = `${restic} restore latest --target restored`;
  await machines.bashWithKills(restore, whilePassing(BIG, seed + 1), env);
  expect(withoutHoles(exact(restored))).toEqual(withoutHoles(exact(join(machines.here, 'site'))));
  await machines.bash(`${restic} check --read-data`, env);
});
