/** Unusual environments for an agent: users without names, limits, lost sockets. Each works or fails with one sentence. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { resolveHome } from '../../dist/home.js';
import { rootDescribe } from '../../../../test/support/root.js';
import { patience, until } from '../../../../test/support/waits.js';
import { changeAccounts } from '../accounts.js';
import { removeHome } from '../remove-home.js';

const SENDALL = fileURLToPath(new URL('../../bin/sendall.js', import.meta.url));
/** A user without an entry in the password file. */
const UID = 12_399;

let folder: string;
const agents: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'places-'));
});
afterEach(async () => {
  for (const agent of agents.splice(0)) {
    agent.kill();
    if (agent.exitCode === null && agent.signalCode === null) await once(agent, 'exit');
  }
  for (const name of readdirSync(folder)) await removeHome(join(folder, name), 0);
  await removeHome(folder, 0);
});

type Env = Record<string, string>;
const program = (env: Env, words: readonly string[], uid?: number): [string, string[]] => {
  const own = [
    'env',
    '-i',
    `PATH=${process.env.PATH}`,
    ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
  ];
  const as = uid === undefined ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  const [first, ...rest] = [...as, ...own, process.execPath, SENDALL, ...words];
  return [first!, rest];
};

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly said: string;
}

/** Runs sendall to its end, while others run. */
async function begin(env: Env, words: readonly string[], uid?: number): Promise<Ended> {
  const child = spawn(...program(env, words, uid), { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'close') as Promise<[number | null]>;
  const [out, said, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), ended]);
  return { code, out, said };
}

/** Runs sendall to its end. */
function call(env: Env, words: readonly string[], uid?: number): Ended {
  const { status, stdout, stderr } = spawnSync(...program(env, words, uid), {
    encoding: 'utf8',
    timeout: patience(30_000),
  });
  return { code: status, out: stdout, said: stderr };
}

/** Starts an agent and waits until it listens. */
async function agent(env: Env, uid?: number, ...options: readonly string[]): Promise<void> {
  const child = spawn(...program(env, ['agent', ...options], uid), { stdio: ['ignore', 'ignore', 'pipe'] });
  agents.push(child);
  let said = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (said += text));
  await until(() => said.includes('listening') || child.exitCode !== null, 'the agent');
  expect(said).toContain('listening');
}

describe('one state folder', () => {
  test('has one agent for a login, cron, another login, and after its runtime folder is removed', async () => {
    const login = { HOME: folder, XDG_RUNTIME_DIR: join(folder, 'run') };
    mkdirSync(login.XDG_RUNTIME_DIR, { mode: 0o700 });
    await agent(login);
    const others: Env[] = [{ HOME: folder }, { HOME: folder, XDG_RUNTIME_DIR: join(folder, 'not-there') }];
    for (const env of [login, ...others])
      expect(call(env, ['run', 'local', '--', 'echo', 'hi'])).toMatchObject({ out: 'hi\n' });
    expect(call({ HOME: folder }, ['agent'])).toMatchObject({
      code: 200,
      said: expect.stringMatching(/^sendall: an agent \(pid \d+\) runs already on .*\n$/),
    });
    rmSync(login.XDG_RUNTIME_DIR, { recursive: true });
    expect(call(login, ['run', 'local', '--', 'echo', 'hi'])).toMatchObject({ out: 'hi\n' });
  });

  test('gets its agent’s socket back after a cleaner removed it', async () => {
    const env = { SENDALL_HOME: join(folder, 'home') };
    await agent(env);
    const { agentSocket } = resolveHome(env);
    rmSync(agentSocket);
    await until(() => existsSync(agentSocket), 'the socket');
    expect(call(env, ['run', 'local', '--', 'echo', 'hi'])).toMatchObject({ out: 'hi\n' });
  });
});

describe('the folder of sendall', () => {
  test('is absolute, and in the state folder for sockets unless that is too long for them', () => {
    expect(resolveHome({ SENDALL_HOME: 'x' }).state).toBe(join(process.cwd(), 'x'));
    const xdg = { HOME: '/h', XDG_RUNTIME_DIR: '/run/user/1', XDG_STATE_HOME: 'not/absolute' };
    expect(resolveHome(xdg)).toMatchObject({
      state: '/h/.local/state/sendall',
      agentSocket: '/h/.local/state/sendall/agent.sock',
      linksSocket: '/run/user/1/sendall/links.sock',
    });
    const long = { ...xdg, HOME: `/${'h'.repeat(100)}` };
    expect(resolveHome(long)).toMatchObject({ agentSocket: '/run/user/1/sendall/agent.sock' });
  });
});

rootDescribe('a user without an entry in the password file', () => {
  beforeEach(() => {
    chmodSync(folder, 0o755);
    mkdirSync(join(folder, 'u'));
    chownSync(join(folder, 'u'), UID, UID);
  });

  test('gets an agent, and the commands a home', async () => {
    const env = { HOME: join(folder, 'u') };
    await agent(env, UID);
    const { out } = call(env, ['run', 'local', '--cwd', '/', '--', 'sh', '-c', 'echo $HOME $USER $SHELL'], UID);
    expect(out).toBe(`${env.HOME} ${UID} /bin/sh\n`);
  });

  test('without HOME gets an error that says what to set, and needs none with SENDALL_HOME', async () => {
    expect(call({}, ['run', 'local', '--', 'true'], UID)).toMatchObject({
      code: 200,
      said: expect.stringMatching(
        /^sendall: HOME is not set and user 12399 has no entry.*: set HOME, or SENDALL_HOME.*\n$/,
      ),
    });
    await agent({ SENDALL_HOME: join(folder, 'u', 's') }, UID);
  });

  test('may use folders writable for its own group, but not for another group', async () => {
    const config = join(folder, 'u', '.config');
    mkdirSync(config);
    chmodSync(config, 0o775);
    chownSync(config, UID, UID);
    await agent({ HOME: join(folder, 'u') }, UID);
    chownSync(config, UID, 0);
    chmodSync(config, 0o775);
    expect(call({ HOME: join(folder, 'u') }, ['agent'], UID).said).toMatch(/\.config can be changed by other users/);
  });
});

// Only root may make users.
rootDescribe('a user whose primary group has another name', () => {
  const name = `places${process.pid}`;
  const group = `g${name}`;
  afterEach(() => {
    for (const each of [name, `${name}b`])
      if (spawnSync('id', ['-u', each]).status === 0) changeAccounts('userdel', '-f', each);
    spawnSync('groupdel', [group]);
  });

  test('may use folders writable for it, unless it has another member', async () => {
    changeAccounts('groupadd', group);
    changeAccounts('useradd', '-M', '-N', '-g', group, name);
    const id = (flag: string) => Number(spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout);
    const ids: [number, number] = [id('-u'), id('-g')];
    const shared = join(folder, 'shared');
    mkdirSync(join(shared, 'home'), { recursive: true, mode: 0o700 });
    chmodSync(folder, 0o711);
    for (const path of [shared, join(shared, 'home')]) chownSync(path, ...ids);
    chmodSync(shared, 0o775);
    const check = () => {
      const home = JSON.stringify(new URL('../../dist/home.js', import.meta.url).href);
      const script = `process.setgroups([]); process.setgid(${ids[1]}); process.setuid(${ids[0]}); (await import(${home})).checkPrivateFolder(${JSON.stringify(join(shared, 'home'))})`;
      return spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    };
    expect(check()).toMatchObject({ status: 0, stderr: '' });
    changeAccounts('useradd', '-M', '-N', '-G', group, `${name}b`);
    expect(check().stderr).toContain('can be changed by other users');
  });
});

/** The open files this machine's Node needs to start and to read its own files; a hard limit. */
function fewestFiles(): number {
  const script = 'for (let i = 0; i < 4; i++) require("node:fs").openSync("/dev/null")';
  for (let files = 16; files < 100; files += 2) {
    const words = ['-c', `ulimit -n ${files}; exec "$@"`, 'sh', process.execPath, '-e', script];
    if (spawnSync('sh', words, { stdio: 'ignore' }).status === 0) return files;
  }
  throw new Error('Node does not start with 100 open files');
}

describe('a system limit is reported in one sentence with the next step', () => {
  test.each([
    ['as few open files as Node can begin with', fewestFiles],
    ['64 open files', () => 64],
    ['100 open files', () => 100],
  ])('%s', (_, limit) => {
    const files = limit();
    const { status, stderr } = spawnSync(
      'sh',
      ['-c', `ulimit -n ${files}; exec "$@"`, 'sh', process.execPath, SENDALL, 'agent'],
      {
        env: { ...process.env, SENDALL_HOME: join(folder, 'home') },
        encoding: 'utf8',
        timeout: patience(30_000),
      },
    );
    expect(stderr).toBe(
      `sendall: an agent needs at least 128 open files, and this process may have ${files}: raise its limit, for example with "ulimit -n 1024"\n`,
    );
    expect(status).toBe(200);
  });

  rootDescribe('of a disk', () => {
    const disks: string[] = [];
    const disk = (options: string): string => {
      const path = mkdtempSync(join(folder, 'disk-'));
      expect(spawnSync('mount', ['-t', 'tmpfs', '-o', `mode=700,${options}`, 'tmpfs', path]).status).toBe(0);
      disks.push(path);
      return path;
    };
    afterEach(() => {
      for (const path of disks.splice(0)) spawnSync('umount', ['-l', path]);
    });

    test.each([
      ['that is read-only', 'size=10m', true, /that disk is read-only/],
      ['without room', 'size=4k', false, /(disk is full or has no inodes left; make room|that disk is full)/],
      ['without inodes', 'size=10m,nr_inodes=3', false, /disk is full or has no inodes left/],
      ['with too few inodes for the keeper', 'size=10m,nr_inodes=8', false, /disk is full or has no inodes left/],
    ])('%s', (_, options, readOnly, said) => {
      const path = disk(options);
      if (readOnly) spawnSync('mount', ['-o', 'remount,ro', path]);
      const answer = call({ SENDALL_HOME: join(path, 'home') }, ['agent']);
      expect(answer.said).toMatch(/^sendall: [^\n]*\n$/);
      expect(answer.said).toMatch(said);
      expect(answer.code).not.toBe(0);
    });
  });
});

// Only root is another user for a moment; for root itself there is no such limit.
rootDescribe('at the limit on processes', () => {
  let env: Env;
  beforeEach(() => {
    chmodSync(folder, 0o755);
    mkdirSync(join(folder, 'u'));
    chownSync(join(folder, 'u'), UID, UID);
    env = { SENDALL_HOME: join(folder, 'u', 'home') };
  });

  type Status = { pid: number; keeperPid: number };
  const statusOf = () => JSON.parse(call(env, ['agent', 'status', '--json'], UID).out) as Status;
  const asUser = ['setpriv', `--reuid=${UID}`, `--regid=${UID}`, '--clear-groups'] as const;
  /** Sets the soft limit, as users may for their own processes. */
  const limit = (pid: number, most: string) => {
    const [first, ...rest] = [...asUser, 'prlimit', '--pid', String(pid), `--nproc=${most}:`];
    expect(spawnSync(first, rest).status).toBe(0);
  };
  /** Raises the soft limit to the hard one. */
  const unlimit = (pid: number) =>
    limit(pid, /^Max processes +\S+ +(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'latin1'))![1]!);
  /** Lets Node make its threads first; then forbids more processes. */
  const atTheLimit = () => {
    const hook = join(folder, 'u', 'limit.cjs');
    const script = `require('node:fs').stat('/', () => {});
      require('node:child_process').spawnSync('prlimit', ['--pid', String(process.pid), '--nproc=1:']);`;
    writeFileSync(hook, script);
    return { ...env, NODE_OPTIONS: `--require=${hook}` };
  };

  test('a keeper refuses commands it cannot start, one or many, and running ones go on', async () => {
    await agent(env, UID);
    const fifo = join(folder, 'u', 'fifo');
    expect(spawnSync('mkfifo', ['-m', '666', fifo]).status).toBe(0);
    call(env, ['run', '-d', '--name', 'long', 'local', '--', 'cat', fifo], UID);
    const { keeperPid } = statusOf();
    limit(keeperPid, '1');
    const refused = call(env, ['run', 'local', '--', 'true'], UID);
    expect(refused.said).toMatch(
      /^sendall: [^\n]*the system could not start "true" \(posix_spawn: EAGAIN\): as many processes run as its user, its container or the machine may have[^\n]*\n$/,
    );
    expect(refused.code).not.toBe(0);
    const many = await Promise.all(Array.from({ length: 12 }, () => begin(env, ['run', 'local', '--', 'true'], UID)));
    for (const { said } of many) expect(said).toContain('(posix_spawn: EAGAIN)');
    unlimit(keeperPid);
    expect(statusOf().keeperPid).toBe(keeperPid);
    writeFileSync(fifo, 'still here\n');
    expect(call(env, ['attach', 'long'], UID)).toMatchObject({ code: 0, out: 'still here\n' });
    expect(call(env, ['run', 'local', '--', 'echo', 'hi'], UID)).toMatchObject({ out: 'hi\n' });
  });

  test('an agent that cannot start a keeper says so and ends; one that runs goes on and starts it later', async () => {
    const refused = call(atTheLimit(), ['agent'], UID);
    expect(refused.said).toMatch(/^sendall: [^\n]*keeper[^\n]*EAGAIN[^\n]*raise "ulimit -u"[^\n]*\n$/);
    expect(refused.code).not.toBe(0);
    await agent(env, UID);
    const { pid, keeperPid } = statusOf();
    limit(pid, '1');
    process.kill(keeperPid, 'SIGKILL');
    await until(() => !existsSync(`/proc/${keeperPid}`), 'the end of the keeper');
    const { code, said } = call(env, ['run', 'local', '--', 'true'], UID);
    expect(said).toMatch(/^sendall: [^\n]*keeper[^\n]*EAGAIN[^\n]*\n$/);
    expect(code).not.toBe(0);
    unlimit(pid);
    expect(call(env, ['run', 'local', '--', 'echo', 'hi'], UID)).toMatchObject({ out: 'hi\n' });
    expect(statusOf().pid).toBe(pid);
  });

  test('a command line that cannot start the warm-links process works without it', async () => {
    await agent(env, UID, '--listen', 'tls://127.0.0.1:0');
    const { listening } = JSON.parse(call(env, ['agent', 'status', '--json'], UID).out) as { listening: string[] };
    const { code } = JSON.parse(call(env, ['pair', '--new', '--json'], UID).out) as { code: string };
    const url = listening.find((each) => each.startsWith('tls:'))!;
    expect(call(env, ['pair', url, '--code', code, '--name', 'me'], UID).said).not.toContain('sendall:');
    expect(call(atTheLimit(), ['run', 'me', '--', 'echo', 'hi'], UID)).toEqual({ code: 0, out: 'hi\n', said: '' });
    call(env, ['links', 'stop'], UID);
  });
});

test('the agent and its status report a damaged journal', async () => {
  const env = { SENDALL_HOME: join(folder, 'home') };
  const { state } = resolveHome(env);
  await agent(env);
  const said = () => call(env, ['agent', 'status']).out;
  expect(said()).not.toContain('damaged');
  const kept = join(state, 'damaged', '2026-01-01T00-00-00.000Z');
  mkdirSync(kept, { recursive: true });
  expect(said()).toContain(`are kept in ${kept}: check that disk`);
  expect(JSON.parse(call(env, ['agent', 'status', '--json']).out)).toMatchObject({ setAside: [kept] });
  expect(call(env, ['doctor']).out).toMatch(/^wrong {2}journal +the run journal was damaged/m);
  expect(readFileSync(join(state, '.sendall'), 'utf8')).toBe('');
});
