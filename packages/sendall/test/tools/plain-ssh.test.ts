/** OpenSSH's own ssh to the host's sshd, through `sendall-ssh -W`, while the agent dies and comes back. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { rootTest } from '../../../../test/support/root.js';
import { drawSeed } from '../../../../test/support/seed.js';
import { Site } from '../install/site.js';
import { whilePassing } from './moments.js';
import { MiB, writeRandom } from './trees.js';
import { isFull, LIMIT, TwoMachines } from './two-machines.js';

const BIG = isFull ? 1024 * MiB : 24 * MiB;

let machines: TwoMachines;
beforeAll(async () => {
  machines = await TwoMachines.start();
});
afterAll(async () => await machines?.[Symbol.asyncDispose]());

rootTest('ssh with a ProxyCommand stays connected', { timeout: LIMIT }, async () => {
  const seed = drawSeed();
  const { here, there } = machines;
  await using site = await Site.start({ web1: { user: machines.account!.name } });
  const ssh = `${site.ssh} -o ProxyCommand='sendall-ssh -W %h:%p web1' web1`;
  writeRandom(join(here, 'big'), BIG);
  const moments = [...whilePassing(BIG, seed), ...whilePassing(BIG, seed + 1, { before: BIG })];
  await machines.bashWithKills(`${ssh} 'cat > copy; cat copy' < big > back`, moments);
  const wanted = readFileSync(join(here, 'big'));
  for (const copy of [join(there, 'copy'), join(here, 'back')]) expect(readFileSync(copy).equals(wanted)).toBe(true);
});
