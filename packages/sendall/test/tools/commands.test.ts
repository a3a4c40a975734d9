/** ansible, parallel and docker through `sendall-ssh`, while the agent dies and comes back. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { drawSeed } from '../../../../test/support/seed.js';
import { gate, whilePassing } from './moments.js';
import { makeTree, MiB, writeRandom } from './trees.js';
import { isFull, LIMIT, TwoMachines } from './two-machines.js';

const BIG = isFull ? 64 * MiB : 8 * MiB;

let machines: TwoMachines;
beforeAll(async () => {
  machines = await TwoMachines.start();
});
afterAll(async () => await machines?.[Symbol.asyncDispose]());

function folderThere(name: string): string {
  const folder = join(machines.there, name);
  mkdirSync(folder);
  machines.give(folder);
  return folder;
}

test('ansible: ping, command, copy and template', { timeout: LIMIT }, async () => {
  const seed = drawSeed();
  const { here, there } = machines;
  const env = {
    ANSIBLE_SSH_EXECUTABLE: 'sendall-ssh',
    ANSIBLE_SSH_TRANSFER_METHOD: 'piped',
    ANSIBLE_REMOTE_TEMP: `${there}/.ansible`,
  };
  expect((await machines.bash('ansible all -i web1, -m ping', env)).stdout).toMatch(
    /^web1 \| SUCCESS[^]*"ping": "pong"/,
  );
  const stop = gate(folderThere('gate'));
  writeRandom(join(here, 'big'), BIG);
  writeFileSync(join(here, 'motd.j2'), '{{ greeting }}, {{ inventory_hostname }}: "{{ 6 * 7 }}" 名字\n');
  writeFileSync(
    join(here, 'play.yml'),
    JSON.stringify([
      {
        hosts: 'all',
        gather_facts: false,
        vars: { greeting: "it's" },
        tasks: [
          { command: { argv: ['sh', '-c', `${stop.text}; echo "two  words"`] }, register: 'said' },
          { assert: { that: "said.stdout == 'two  words'" } },
          { copy: { src: 'big', dest: `${there}/copied` } },
          { template: { src: 'motd.j2', dest: `${there}/motd`, mode: '0640' } },
        ],
      },
    ]),
  );
  const moments = [stop, ...whilePassing(BIG, seed, { times: 1 })];
  const { stdout } = await machines.bashWithKills('ansible-playbook -i web1, play.yml', moments, env);
  expect(stdout).toMatch(/web1 +: ok=4 +changed=3 +unreachable=0 +failed=0/);
  expect(readFileSync(`${there}/copied`).equals(readFileSync(join(here, 'big')))).toBe(true);
  expect(readFileSync(`${there}/motd`, 'utf8')).toBe('it\'s, web1: "42" 名字\n');
});

test('parallel: jobs there, with files that go there and come back', { timeout: LIMIT }, async () => {
  const { here, there } = machines;
  const folder = join(here, 'jobs');
  makeTree(folder, { files: 10 });
  folderThere('jobs');
  // All jobs at once: each removes the folder if it is empty then, and the files of a later one may just be coming there.
  const stop = gate(folderThere('gate-of-jobs'), 10);
  const job = `${stop.text}; tac {} > {}.out`;
  const options = `--will-cite -S 10/web1 --ssh sendall-ssh --workdir ${there}/jobs --trc {}.out`;
  await machines.bashWithKills(`cd jobs/'folder 0' && parallel ${options} ${JSON.stringify(job)} ::: *`, [stop]);
  const wanted = await machines.bash(
    `cd jobs/'folder 0' && for f in *[0-9]; do tac $f | cmp - $f.out && echo $f; done`,
  );
  expect(wanted.stdout.trim().split('\n')).toHaveLength(10);
  // It removes what it brought there, and the folder when it is empty.
  expect(existsSync(`${there}/jobs`)).toBe(false);
});
