/** `hosts install` against a real sshd, as another user than the caller. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, watch, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { rootDescribe } from '../../../../test/support/root.js';
import { until, within } from '../../../../test/support/waits.js';
import { SENDALL, User } from '../cli/support.js';
import { otherVersion } from '../exact/machine.js';
import {
  addAccount,
  endAgent,
  ended,
  kill,
  linkAt,
  removeAccount,
  removeCaller,
  resetAccount,
  rootOf,
  Site,
  stateOf,
  type Account,
} from './site.js';

const OLD = '0.0.9';
/** An address where nothing listens: the port of a service that is not in use. One that was just free may be another test's. */
const CLOSED = 'tls://127.0.0.1:1';

/** Everything below a folder. */
const contentOf = (folder: string): string[] =>
  existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort() : [];

interface Known {
  readonly url: string;
  readonly pin: string;
  readonly tags: object;
  readonly installed: object;
}
const knownTo = (caller: User): Record<string, Known> =>
  JSON.parse(readFileSync(join(caller.home, 'hosts.json'), 'utf8')) as Record<string, Known>;

/** The processes whose command line holds all of these texts. */
const processesWith = (...words: string[]): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
        return words.every((word) => line.includes(word));
      } catch {
        return false;
      }
    })
    .map(Number);

describe('the command line', () => {
  test.each([
    [['install'], /needs a host/],
    [['install', '--ssh', 'ssh -p "22', 'web1'], /--ssh: .* is no command line/],
    [['install', '--port', '70000', 'web1'], /--port: "70000" is not a number from 0 to 65535/],
    [['install', '--listen', 'http://x', 'web1'], /is not an address/],
    [['install', '--name', 'a,b', 'web[1-3]'], /names 2 and there are 3 hosts/],
    [['install', 'root@web1', 'admin@web1'], /two of these hosts would be called "web1"/],
    [['install', '--address', 'x', 'web[1-2]'], /--address is for one host/],
    [['install', '--purge', 'web1'], /--purge is for hosts uninstall/],
    [['install', '--upgrade', 'all'], /names no host/],
    [['install', '--ssh', '/nonexistent/ssh', 'web1'], /there is no program "\/nonexistent\/ssh" here/],
    [['uninstall'], /needs a name/],
    [['uninstall', 'web9'], /there is no host "web9"/],
  ])('hosts %j: one sentence, code 200', (words, sentence) => {
    using caller = new User();
    const { code, stdout, stderr } = caller.call(['hosts', ...words]);
    expect([code, stdout, stderr.trim().split('\n').length]).toEqual([200, '', 1]);
    expect(stderr).toMatch(sentence);
  });

  test('a host that looks like an option of ssh is none', () => {
    using caller = new User();
    const { code, stderr } = caller.call(['hosts', 'install', '--', '-oProxyCommand=touch /tmp/x']);
    expect([code, stderr]).toEqual([200, expect.stringContaining('hosts install needs a host')]);
  });

  test('a host that was paired by hand cannot be uninstalled', () => {
    using caller = new User();
    caller.call(['hosts', 'add', 'web1', 'tls://web1:7433', '--pin', `SHA256:${'A'.repeat(43)}`]);
    expect(caller.call(['hosts', 'uninstall', 'web1'])).toMatchObject({
      code: 200,
      stderr: expect.stringContaining('"web1" was not installed with "hosts install"') as string,
    });
  });
});

rootDescribe('an account on a machine with ssh', () => {
  let account: Account;
  let other: Account;
  let site: Site;
  let caller: User;
  beforeAll(async () => {
    account = addAccount();
    other = addAccount('/usr/bin/fish');
    const user = account.name;
    site = await Site.start({
      web1: { user },
      web2: { user: other.name },
    });
  });
  afterAll(async () => {
    await site[Symbol.asyncDispose]();
    for (const each of [account, other]) await removeAccount(each);
  });
  beforeEach(() => {
    caller = new User();
  });
  afterEach(async () => {
    await removeCaller(caller);
    for (const each of [account, other]) await resetAccount(each);
  });

  const hosts = (...words: string[]) => site.hosts(caller, words);
  const install = (...words: string[]) => hosts('install', '--port', '0', ...words);
  const leftovers = (each: Account): string[] => contentOf(each.home);

  test('one line installs, starts, pins both sides and finds nothing wrong', async () => {
    const said = await install('web1', '--tag', 'role=web');
    expect([said.code, said.stderr]).toEqual([0, '']);
    expect(said.stdout).toMatch(/^web1: installed: sendall \S+ in \S+sendall, run by \S+node, .* copied\n/);
    expect(said.stdout).toContain('the agent runs in the background');
    expect(said.stdout).not.toContain('doctor:');
    expect((await ended(caller.start(['run', 'web1', '--', 'id', '-un']))).stdout).toBe(`${account.name}\n`);
    const { web1 } = knownTo(caller);
    expect(web1).toMatchObject({ tags: { role: 'web' }, installed: { ssh: 'web1', system: false } });
    const status = JSON.parse(
      (
        await ended(
          caller.start(['run', 'web1', '--', `${account.home}/.local/bin/sendall`, 'agent', 'status', '--json']),
        )
      ).stdout,
    ) as { fingerprint: string; name: string; listening: string[] };
    expect(status).toMatchObject({ fingerprint: web1!.pin, name: 'web1' });
    expect(web1!.url).toBe(`tls://127.0.0.1:${/\d+$/.exec(status.listening[1]!)![0]}`);
    const callers = JSON.parse(readFileSync(join(account.home, '.config/sendall/callers.json'), 'utf8')) as object;
    expect(Object.keys(callers)).toEqual([(caller.events(['agent', 'status']), ownFingerprint())]);
    // One version, and no word of what came over stdin in a file.
    expect(readdirSync(join(rootOf(account), 'versions'))).toHaveLength(1);
    expect(readdirSync(rootOf(account)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  /** The fingerprint of the caller's key. */
  function ownFingerprint(): string {
    const script = `import { loadIdentity } from '${new URL('../../dist/internal.js', import.meta.url).href}';
import { resolveHome } from '${new URL('../../dist/home.js', import.meta.url).href}';
console.log((await loadIdentity(resolveHome())).fingerprint);`;
    return execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      env: caller.env(),
      encoding: 'utf8',
    }).trim();
  }

  test('the same line again changes nothing, and starts the agent after a reboot', async () => {
    expect(await install('web1')).toMatchObject({ code: 0, stderr: '' });
    const agent = linkAt(join(stateOf(account), 'agent.owner'));
    const again = await hosts('install', 'web1');
    expect([again.code, again.stdout]).toEqual([0, expect.stringMatching(/^web1: there already: /)]);
    expect(linkAt(join(stateOf(account), 'agent.owner'))).toBe(agent);
    await endAgent(account);
    expect(await hosts('install', 'web1')).toMatchObject({ code: 0, stderr: '' });
    expect((await ended(caller.start(['run', 'web1', '--', 'echo', 'back']))).stdout).toBe('back\n');
  });

  test('a second caller installs the same host and is let in beside the first', async () => {
    expect(await install('web1')).toMatchObject({ code: 0, stderr: '' });
    using second = new User();
    expect(await site.hosts(second, ['install', 'web1'])).toMatchObject({ code: 0, stderr: '' });
    for (const each of [caller, second])
      expect((await ended(each.start(['run', 'web1', '--', 'echo', 'both']))).stdout).toBe('both\n');
  });

  test('an upgrade keeps running commands and every byte of their output', async () => {
    expect(await site.hosts(caller, ['install', '--port', '0', 'web1'], { program: otherVersion(OLD) })).toMatchObject({
      code: 0,
      stderr: '',
    });
    const go = join(account.home, 'go');
    const script = `i=0 j=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo $i; [ $i -ne 1000 ] || until [ -e ${go} ] || [ $((j=j+1)) -gt 9000 ]; do sleep 0.02; done; done`;
    const running = caller.start(['run', 'web1', '--', 'sh', '-c', script]);
    const output = ended(running);
    await once(running.stdout!, 'readable');
    const refused = await hosts('install', 'web1');
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/version 0\.0\.9-\w+ is there, .* add --upgrade/),
    });
    const upgraded = await hosts('install', 'web1', '--upgrade');
    expect([upgraded.code, upgraded.stderr]).toEqual([0, '']);
    expect(upgraded.stdout).toMatch(/^web1: upgraded: sendall 0\.1\.0-/);
    // The old version stays while a process of it runs.
    expect(readdirSync(join(rootOf(account), 'versions'))).toHaveLength(2);
    const version = (await ended(caller.start(['hosts', 'ping', 'web1', '--no-share', '--json']))).stdout;
    expect(JSON.parse(version)).toMatchObject({ ok: true, version: '0.1.0' });
    writeFileSync(go, '');
    expect(await output).toEqual({
      code: 0,
      stdout: Array.from({ length: 5000 }, (_, i) => `${i + 1}\n`).join(''),
      stderr: '',
    });
    await until(() => !processesWith(`${rootOf(account)}/versions/${OLD}`).length, 'the old keeper to make room');
    expect(await hosts('install', 'web1', '--upgrade')).toMatchObject({ code: 0, stderr: '' });
    expect(readdirSync(join(rootOf(account), 'versions'))).toHaveLength(1);
  });

  test('an upgrade that cannot be reached goes back to the version before', async () => {
    expect(await site.hosts(caller, ['install', '--port', '0', 'web1'], { program: otherVersion(OLD) })).toMatchObject({
      code: 0,
      stderr: '',
    });
    const before = knownTo(caller);
    const failed = await hosts('install', 'web1', '--upgrade', '--address', CLOSED);
    expect(failed.code).toBe(201);
    expect(failed.stderr).toMatch(
      /^sendall: web1: .*does not answer .*; the version from before \(0\.0\.9-\w+\) runs there again: open TCP port/,
    );
    expect(knownTo(caller)).toEqual(before);
    expect(readdirSync(join(rootOf(account), 'versions'))).toEqual([expect.stringMatching(/^0\.0\.9-/)]);
    expect((await ended(caller.start(['hosts', 'ping', 'web1', '--no-share']))).stdout).toContain('version 0.0.9');
  });

  test('uninstall refuses while commands run, and leaves only what it says', async () => {
    expect(await install('web1')).toMatchObject({ code: 0, stderr: '' });
    const running = caller.start(['run', 'web1', '--', 'sh', '-c', 'echo go; sleep 600']);
    await once(running.stdout!, 'readable');
    const refused = await hosts('uninstall', 'web1');
    expect([refused.code, refused.stderr]).toEqual([
      1,
      'sendall: web1: a command runs there: wait for the end, or add --runs to end it\n',
    ]);
    expect(await ended(caller.start(['hosts', 'ping', 'web1']))).toMatchObject({ code: 0, stderr: '' });
    const output = ended(running);
    const removed = await hosts('uninstall', 'web1', '--runs');
    expect(removed.code).toBe(0);
    expect((await output).code).not.toBe(0);
    expect(removed.stdout).toContain(`left there: ${account.home}/.config/sendall (keys) and ${stateOf(account)}`);
    expect(Object.keys(knownTo(caller))).toEqual([]);
    expect(existsSync(rootOf(account))).toBe(false);
    expect(linkAt(join(account.home, '.local/bin/sendall'))).toBeUndefined();
    expect(processesWith(rootOf(account))).toEqual([]);
    expect(await install('web1')).toMatchObject({ code: 0, stderr: '' });
    expect((await hosts('uninstall', 'web1', '--purge')).stdout).not.toContain('left there');
    expect(leftovers(account).filter((path) => path.includes('sendall'))).toEqual([]);
  });

  test.each([
    ['the folder itself', '.'],
    ['a folder in it', 'many/deep'],
  ])('a purge succeeds though a file comes into %s while it is removed', async (_what, late) => {
    expect(await install('web1')).toMatchObject({ code: 0, stderr: '' });
    const many = join(stateOf(account), 'many');
    mkdirSync(join(many, 'deep'), { recursive: true });
    for (let i = 0; i < 3000; i++) writeFileSync(join(many, `${i}`), '');
    execFileSync('chown', ['-R', account.name, many]);
    // As a command that the keeper left behind notes its end.
    const watcher = watch(many, () => {
      watcher.close();
      for (let i = 0; i < 20; i++) {
        try {
          writeFileSync(join(stateOf(account), late, `late${i}`), '');
        } catch {
          // It has gone.
        }
      }
    });
    onTestFinished(() => watcher.close());
    expect(await hosts('uninstall', 'web1', '--purge')).toMatchObject({ code: 0, stderr: '' });
    expect(leftovers(account).filter((path) => path.includes('sendall'))).toEqual([]);
  });

  describe('what fails is taken back:', () => {
    /** Does it while the folder is a disk of its own, which must be empty in the end. */
    async function onDisk<T>(folder: string, options: string, act: () => Promise<T>): Promise<T> {
      mkdirSync(folder, { recursive: true });
      execFileSync('chown', ['-R', account.name, join(account.home, '.local')]);
      execFileSync('mount', ['-t', 'tmpfs', '-o', `${options},mode=1777`, 'tmpfs', folder]);
      try {
        const done = await act();
        expect(readdirSync(folder)).toEqual([]);
        return done;
      } finally {
        execFileSync('umount', ['-l', folder]);
      }
    }

    test('a port in use', async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      onTestFinished(() => void server.close());
      const { port } = server.address() as AddressInfo;
      const failed = await hosts('install', 'web1', '--port', String(port));
      expect([failed.code, failed.stdout]).toEqual([1, '']);
      expect(failed.stderr).toBe(
        `sendall: web1: port ${port} is in use there: choose another with --port; nothing was left there\n`,
      );
      expect(leftovers(account)).toEqual([]);
    });

    test('an agent that does not answer this machine', async () => {
      const failed = await install('web1', '--address', CLOSED);
      expect(failed.code).toBe(201);
      expect(failed.stderr).toMatch(
        /the agent ran, but does not answer this machine at .*; nothing was left there: open TCP port \d+/,
      );
      expect(leftovers(account)).toEqual([]);
      expect(processesWith(rootOf(account))).toEqual([]);
      expect(existsSync(join(caller.home, 'hosts.json')) ? knownTo(caller) : {}).toEqual({});
    });

    test('a disk without room', async () => {
      const folder = join(account.home, '.local/lib');
      const failed = await onDisk(folder, 'size=2m', () => install('web1'));
      expect(failed.code).toBe(1);
      expect(failed.stderr).toMatch(
        /^sendall: web1: it needs .* and \S+ MiB are free there: make room in .*lib; nothing was left there\n$/,
      );
    });

    test('a quota that is met in the middle', async () => {
      const folder = join(account.home, '.local/lib');
      // Room for the bytes, but not for the names.
      const failed = await onDisk(folder, 'size=64m,nr_inodes=100', () => install('web1'));
      expect(failed.code).toBe(1);
      expect(failed.stderr).toMatch(/No space left on device; nothing was left there\n$/);
    });

    test('a folder that may not be written', async () => {
      writeFileSync(join(account.home, '.local'), '');
      const failed = await install('web1');
      expect(failed).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/Not a directory; nothing was left there\n$/),
      });
    });

    test('a connection that ends in the middle of a copy', async () => {
      const cut = join(site.folder, 'cut.mjs');
      writeFileSync(
        cut,
        `import { spawn } from 'node:child_process';
const [program, ...words] = ${JSON.stringify(site.ssh.split(' '))};
const ssh = spawn(program, [...words, ...process.argv.slice(2)], { stdio: ['pipe', 'inherit', 'inherit'] });
ssh.on('exit', (code) => process.exit(code));
let left = 400_000;
process.stdin.on('data', (chunk) => {
  ssh.stdin.write(chunk.subarray(0, left));
  left -= chunk.length;
  if (left > 0) return;
  ssh.stdin.end();
  process.stdin.destroy();
});
`,
      );
      const failed = await site.hosts(caller, ['install', 'web1'], { ssh: `${process.execPath} ${cut}` });
      expect(failed.code).not.toBe(0);
      expect(failed.stderr).toMatch(/^sendall: web1: .*; nothing was left there\n$/);
      expect(leftovers(account)).toEqual([]);
    });

    test('an agent of another kind is left alone', async () => {
      const agent = spawn(
        'setpriv',
        [`--reuid=${account.name}`, `--regid=${account.name}`, '--clear-groups', process.execPath, SENDALL, 'agent'],
        { env: { PATH: process.env.PATH, HOME: account.home }, stdio: ['ignore', 'ignore', 'pipe'] },
      );
      onTestFinished(() => void agent.kill());
      await once(agent.stderr, 'data');
      const failed = await install('web1');
      expect(failed.code).toBe(1);
      expect(failed.stderr).toMatch(
        /an agent that was not installed this way runs there already \(pid \d+, .*nothing was left there/,
      );
      expect(agent.exitCode).toBeNull();
      expect(existsSync(rootOf(account))).toBe(false);
      agent.kill();
      await once(agent, 'exit');
    });
  });

  test('after a kill in the middle, the next installation repairs', async () => {
    // The caller waits for a machine that takes its connection and says nothing.
    const silent = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
    const sockets: Socket[] = [];
    await once(silent, 'listening');
    const called = once(silent, 'connection');
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      silent.close();
    });
    const { port } = silent.address() as AddressInfo;
    const words = [
      'hosts',
      'install',
      'web1',
      '--port',
      '0',
      '--address',
      `tls://127.0.0.1:${port}`,
      '--ssh',
      site.ssh,
    ];
    const killed = caller.start(words);
    await within(called, 'the call');
    // Its far half, and the shell above it: each takes everything back when it sees the end of the other.
    const halves = processesWith('settle', rootOf(account));
    expect(halves).not.toEqual([]);
    const parents = halves.map((pid) =>
      Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]),
    );
    const both = new Set([...parents, ...halves]);
    for (const pid of both) process.kill(pid, 'SIGSTOP');
    for (const pid of both) kill(pid);
    const end = once(killed, 'exit');
    killed.kill('SIGKILL');
    await end;
    expect(linkAt(join(rootOf(account), '.installing'))).toBeDefined();
    const record = JSON.parse(readFileSync(join(rootOf(account), 'installation.json'), 'utf8')) as object;
    expect(record).toMatchObject({ state: 'begun' });
    const repaired = await install('web1');
    expect([repaired.code, repaired.stderr]).toEqual([0, '']);
    expect((await ended(caller.start(['run', 'web1', '--', 'echo', 'whole']))).stdout).toBe('whole\n');
    expect(linkAt(join(rootOf(account), '.installing'))).toBeUndefined();
  });

  test('two installations at once: one waits for nothing and says so', async () => {
    const both = await Promise.all([install('web1'), install('web1')]);
    const codes = both.map(({ code }) => code);
    expect(codes).toContain(0);
    if (codes.some((code) => code !== 0))
      expect(both.map(({ stderr }) => stderr).join('')).toMatch(/another installation \(pid \d+\) is under way there/);
    expect((await ended(caller.start(['run', 'web1', '--', 'echo', 'one']))).stdout).toBe('one\n');
  });

  test('ssh refuses, does not know the key, or does not get there: a sentence and its code', async () => {
    const with_ = (options: string) => site.hosts(caller, ['install', 'web1'], { ssh: `${site.ssh} ${options}` });
    const other = `ssh -F ${join(site.folder, 'strange')}`;
    const config = readFileSync(join(site.folder, 'ssh_config'), 'utf8');
    writeFileSync(join(site.folder, 'strange'), config.replace(`${site.folder}/user\n`, `${site.folder}/other\n`));
    expect(await site.hosts(caller, ['install', 'web1'], { ssh: other })).toMatchObject({
      code: 202,
      stderr: expect.stringMatching(
        /^sendall: web1: ssh is not let in \(.*Permission denied.*\): see that ".*" works\n$/,
      ),
    });
    expect(await with_('-o UserKnownHostsFile=/dev/null -o BatchMode=yes')).toMatchObject({
      code: 202,
      stderr: expect.stringMatching(/ssh does not trust the host’s key \(.*\): type ".*" once and check it\n$/),
    });
    expect(await with_('-p 1')).toMatchObject({
      code: 201,
      stderr: expect.stringMatching(/ssh does not get there \(.*refused.*\): see that ".*" works\n$/),
    });
  });

  test('several hosts at once: names as given, one table, and code 1 when one fails', async () => {
    const said = await install('web[1-2]', 'web3', '--ssh', site.ssh);
    expect(said.code).toBe(1);
    expect(said.stderr).toMatch(/^sendall: web3: ssh does not get there/m);
    const table = said.stdout.split('\n').slice(-5);
    expect(table[0]).toMatch(/^NAME +HOST +RESULT +ADDRESS$/);
    expect(table.slice(1, 4).map((row) => row.split(/ {2,}/).slice(0, 3))).toEqual([
      ['web1', 'web1', 'installed'],
      ['web2', 'web2', 'installed'],
      ['web3', 'web3', 'failed'],
    ]);
    expect((await ended(caller.start(['run', 'web[1-2]', '--gather', '--', 'echo', 'all']))).stdout).toContain(
      'web[1-2]',
    );
    const removed = await hosts('uninstall', 'web[1-2]', '--purge', '--json');
    expect(
      removed.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as object),
    ).toEqual([
      expect.objectContaining({ event: 'host', ok: true, how: 'uninstalled' }),
      expect.objectContaining({ event: 'host', ok: true, how: 'uninstalled' }),
      { event: 'summary', total: 2, ok: 2, failed: 0 },
    ]);
  });

  test('a name that is taken is refused before anything is done', async () => {
    caller.call(['hosts', 'add', 'web1', 'tls://elsewhere:7433', '--pin', `SHA256:${'A'.repeat(43)}`]);
    expect(await install('web1')).toMatchObject({
      code: 200,
      stderr: expect.stringContaining('"web1" is known already, at tls://elsewhere:7433: choose another --name'),
    });
    expect(leftovers(account)).toEqual([]);
  });
});
