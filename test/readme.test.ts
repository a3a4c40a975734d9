import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { endKeeper, removeFolder } from '../packages/sendall/test/remove-home.js';
import { patience, within } from './support/waits.js';

// The lines of the README are pasted as a new user would, into bash, with `sendall` on the PATH.

const root = fileURLToPath(new URL('..', import.meta.url));
const readme = (name: string) => readFileSync(join(root, name), 'utf8');

/** The lines to paste below a heading, block by block. */
const blocks = (text: string, heading: string): string[] => {
  const [section = ''] = text.split(`\n## ${heading}\n`)[1]!.split('\n## ', 1);
  return [...section.matchAll(/^```sh\n([^]*?)\n```$/gm)].map(([, lines]) => lines!);
};

let folder: string;
const agents: ChildProcess[] = [];
const users: NodeJS.ProcessEnv[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-readme-'));
  mkdirSync(join(folder, 'bin'));
  symlinkSync(join(root, 'packages/sendall/bin/sendall.js'), join(folder, 'bin/sendall'));
});
afterEach(async () => {
  for (const agent of agents.splice(0)) {
    process.kill(-agent.pid!, 'SIGTERM');
    await once(agent, 'exit');
  }
  for (const env of users.splice(0)) {
    spawnSync(join(folder, 'bin/sendall'), ['links', 'stop'], { env });
    // Behind the agents: one that still runs starts another keeper.
    for (const state of ['.local/state/sendall', 'sendall-second']) await endKeeper(join(env.HOME!, state));
  }
  await removeFolder(folder);
});

/** A machine of its own: its user's empty home. */
function machine(name: string) {
  const home = join(folder, name);
  mkdirSync(home, { mode: 0o700 });
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    HOME: home,
    PATH: join(folder, 'bin') + delimiter + process.env.PATH,
  };
  delete env.SENDALL_HOME;
  users.push(env);
  return {
    paste(lines: string): string {
      const { stdout, stderr, status } = spawnSync('bash', ['-c', lines], {
        env,
        encoding: 'utf8',
        timeout: patience(60_000),
      });
      expect([lines, status, stderr]).toEqual([lines, 0, '']);
      return stdout;
    },
    /** In a terminal that stays open. Port 0 instead of the page's, which may be taken. */
    async open(lines: string): Promise<void> {
      const agent = spawn('bash', ['-c', lines.replace(':7433', ':0')], {
        env,
        detached: true,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      agents.push(agent);
      const heard = async () => {
        for await (const line of createInterface({ input: agent.stderr }))
          if (line.startsWith('listening tls:')) return;
        throw new Error('the agent ended');
      };
      await within(heard(), lines);
      agent.stderr.resume();
    },
  };
}

/** The line to paste from `sendall pair --new`; this machine may not know its own name. */
const toPaste = (printed: string) => /^ {2}(sendall pair tls:.*)$/m.exec(printed)![1]!.replace(hostname(), '127.0.0.1');

test('the second machine: agent there, code there, the printed line here, and a command runs there', async () => {
  const [agent, pair, run] = blocks(readme('README.md'), 'A second machine');
  const [there, here] = [machine('there'), machine('here')];
  await there.open(agent!);
  here.paste(toPaste(there.paste(pair!)));
  expect(here.paste(run!)).toMatch(/%/);
});

test('both on one machine: the second agent is not the first, and listens on 127.0.0.1 only', async () => {
  const [, , , agent, pair, run] = blocks(readme('README.md'), 'A second machine');
  const here = machine('here');
  await here.open(agent!);
  expect(agent).toContain('tls://127.0.0.1:7433');
  const line = toPaste(here.paste(pair!));
  expect(line).toContain('tls://127.0.0.1:');
  here.paste(line);
  expect(here.paste(run!)).toBe(`${hostname()}\n`);
});

test('both languages have the same lines to paste', () => {
  const lines = (text: string) =>
    [...text.matchAll(/^```(?:sh|ts)\n([^]*?)\n```$/gm)].map(([, block]) => block!.replaceAll(/ +(#|\/\/) .*/g, ''));
  expect(lines(readme('README.zh-CN.md'))).toEqual(lines(readme('README.md')));
});

test('how to run an example is a line that works', () => {
  const [example] = blocks(readme('README.md'), 'In TypeScript');
  const { stdout, status } = spawnSync('bash', ['-c', example!.replace('npm ci && npm run build && ', '')], {
    cwd: root,
    encoding: 'utf8',
    timeout: patience(60_000),
  });
  expect([status, stdout]).toEqual([0, expect.stringContaining('code 0')]);
});
