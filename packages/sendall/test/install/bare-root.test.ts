/** `hosts install` on a Debian without Node.js: as root, through sudo, and with systemd. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { rootDescribe } from '../../../../test/support/root.js';
import { patience, until, within } from '../../../../test/support/waits.js';
import { SENDALL, User } from '../cli/support.js';
import { otherVersion } from '../exact/machine.js';
import { boot, debianRoot, insideOf, shutDown, USER } from './debian.js';
import { ended, removeCaller, Site } from './site.js';

const OLD = '0.0.9';

rootDescribe('a Debian without Node.js', () => {
  let root: string;
  let site: Site;
  let caller: User;
  let machine: ChildProcess | undefined;
  beforeAll(async () => {
    root = await debianRoot();
    execFileSync('mount', ['-t', 'proc', 'proc', join(root, 'proc')]);
    const enter = (as: string) => `exec /usr/sbin/chroot ${as} ${root} /usr/bin/env`;
    site = await Site.start(
      {
        bare: {
          user: 'root',
          force: `${enter('')} HOME=/root PATH=/usr/sbin:/usr/bin:/bin /bin/sh -c "$SSH_ORIGINAL_COMMAND"`,
        },
        riscv: {
          user: 'root',
          force: `${enter('')} HOME=/root PATH=/fake:/usr/bin:/bin /bin/sh -c "$SSH_ORIGINAL_COMMAND"`,
        },
        sudoer: {
          user: 'root',
          force: `${enter(`--userspec=${USER}:${USER}`)} HOME=/home/${USER} PATH=/usr/bin:/bin /bin/sh -c "$SSH_ORIGINAL_COMMAND"`,
        },
      },
      { booted: { user: 'root', port: 22 }, person: { user: USER, port: 22 } },
    );
  }, patience(300_000));
  afterAll(async () => {
    await site?.[Symbol.asyncDispose]();
    if (machine) await shutDown(root, machine);
    if (root) {
      endThere();
      if (!machine) execFileSync('umount', ['-l', join(root, 'proc')]);
      rmSync(dirname(root), { recursive: true, force: true });
    }
  }, patience(120_000));
  beforeEach(() => {
    caller = new User();
  });
  afterEach(async () => await removeCaller(caller));

  /** Ends what a failed test left running. */
  function endThere(): void {
    for (const name of ['agent', 'keeper'])
      try {
        process.kill(
          Number(readlinkSync(join(root, `root/.local/state/sendall/${name}.owner`)).split('.')[0]),
          'SIGKILL',
        );
      } catch {
        // It has ended.
      }
  }

  const before = () => (machine ? insideOf(machine) : []);
  const hosts = (...words: string[]) => site.hosts(caller, words, { before: before() });
  function start(host: string, ...argv: string[]): ChildProcess {
    const words = [...before(), process.execPath, SENDALL, 'run', '--no-share', host, '--', ...argv];
    return spawn(words[0]!, words.slice(1), { env: caller.env(), stdio: ['ignore', 'pipe', 'pipe'] });
  }
  const run = async (host: string, ...argv: string[]) => await ended(start(host, ...argv));
  /** All files of the root, apart from what any login changes. */
  const files = (): string[] =>
    execFileSync(
      'find',
      ['.', '-xdev', '-not', '-path', './proc/*', '-not', '-path', './var/*', '-not', '-path', './run/*'],
      {
        cwd: root,
        encoding: 'utf8',
        maxBuffer: 64 * 1024 * 1024,
      },
    )
      .split('\n')
      .filter((path) => !/^\.\/(?:root|home\/someone)\/(?:\.config|\.local|\.local\/(?:state|bin|lib))$/.test(path))
      .sort();

  test('its Node.js is copied, commands run, and nothing is left after uninstall --purge', async () => {
    const filesBefore = files();
    const said = await hosts('install', 'bare', '--system', '--port', '0');
    expect([said.code, said.stderr]).toEqual([0, '']);
    expect(said.stdout).toMatch(
      /^bare: installed: sendall \S+ in \/usr\/local\/lib\/sendall, run by \/usr\/local\/lib\/sendall\/nodes\/v\S+\/bin\/node, \d+ MiB copied\n/,
    );
    expect(said.stdout).toContain('the agent runs in the background');
    expect(said.stdout).not.toContain('doctor:');
    expect(await run('bare', 'cat', '/etc/debian_version')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^12\./),
    });
    expect((await run('bare', '/usr/local/bin/sendall', '--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const removed = await hosts('uninstall', 'bare', '--purge');
    expect([removed.code, removed.stdout]).toEqual([
      0,
      'bare: uninstalled: /usr/local/lib/sendall and the agent are gone\n',
    ]);
    expect(files()).toEqual(filesBefore);
  });

  test('Node.js is not copied to a machine of another kind', async () => {
    mkdirSync(join(root, 'fake'));
    const uname = '#!/bin/sh\n[ "$1" = -m ] && echo riscv64 || exec /bin/uname "$@"\n';
    writeFileSync(join(root, 'fake/uname'), uname, { mode: 0o755 });
    const filesBefore = files();
    const failed = await hosts('install', 'riscv', '--system');
    expect(failed).toMatchObject({ code: 1, stdout: '' });
    expect(failed.stderr).toMatch(
      /there is no Node\.js there, and the one of this machine \(linux \S+ \w+\) cannot run there \(linux riscv64 \w+\): install Node\.js 20\S+ or newer there; nothing was left there\n$/,
    );
    expect(files()).toEqual(filesBefore);
  });

  test('sudo: refused without the right to it, as root with it', async () => {
    const refused = await hosts('install', 'sudoer', '--system', '--port', '0');
    expect(refused).toMatchObject({ code: 202, stdout: '' });
    expect(refused.stderr).toMatch(/^sendall: sudoer: sudo does not work there without a password \(sudo: .*\): /);
    expect(existsSync(join(root, 'usr/local/lib/sendall'))).toBe(false);
    writeFileSync(join(root, 'etc/sudoers.d/someone'), `${USER} ALL=(ALL) NOPASSWD: ALL\n`, { mode: 0o440 });
    const said = await hosts('install', 'sudoer', '--system', '--port', '0');
    expect([said.code, said.stderr]).toEqual([0, '']);
    expect((await run('sudoer', 'id', '-un')).stdout).toBe('root\n');
    expect(await hosts('uninstall', 'sudoer', '--purge')).toMatchObject({ code: 0, stderr: '' });
    rmSync(join(root, 'etc/sudoers.d/someone'));
  });

  describe('booted with systemd', () => {
    beforeAll(async () => {
      for (const [home, owner] of [
        ['root', '0:0'],
        [`home/${USER}`, execFileSync('stat', ['-c', '%u:%g', join(root, 'home', USER)], { encoding: 'utf8' }).trim()],
      ] as const) {
        const folder = join(root, home, '.ssh');
        mkdirSync(folder, { mode: 0o700, recursive: true });
        copyFileSync(join(site.folder, 'user.pub'), join(folder, 'authorized_keys'));
        execFileSync('chown', ['-R', owner, folder]);
      }
      for (const name of ['host', 'host.pub'])
        copyFileSync(join(site.folder, name), join(root, `etc/ssh/ssh_host_ed25519_key${name.slice(4)}`));
      execFileSync('umount', ['-l', join(root, 'proc')]);
      machine = boot(root);
      const [program, ...words] = [...insideOf(machine), ...site.ssh.split(' '), 'booted', 'true'];
      const isUp = async () => (await ended(spawn(program!, words, { stdio: ['ignore', 'pipe', 'pipe'] }))).code === 0;
      await until(isUp, 'sshd of the booted Debian', 60_000);
    }, patience(120_000));

    test('the agent and the keeper are services; an upgrade keeps commands; nothing is left of the units', async () => {
      const old = await site.hosts(caller, ['install', 'booted', '--system', '--port', '0', '--no-share'], {
        program: otherVersion(OLD),
        before: before(),
      });
      expect([old.code, old.stderr]).toEqual([0, '']);
      expect(old.stdout).not.toContain('background');
      const services = ['systemctl', 'is-active', 'sendall-agent', 'sendall-keeper'];
      expect((await run('booted', ...services)).stdout).toBe('active\nactive\n');
      expect((await run('booted', 'systemctl', 'is-enabled', 'sendall-agent')).stdout).toBe('enabled\n');
      const script =
        'i=0 j=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; [ $i -ne 500 ] || until [ -e /root/go ] || [ $((j=j+1)) -gt 6000 ]; do sleep 0.02; done; done';
      const running = start('booted', 'sh', '-c', script);
      const output = ended(running);
      await once(running.stdout!, 'readable');
      const upgraded = await hosts('install', 'booted', '--upgrade', '--no-share');
      expect([upgraded.code, upgraded.stderr]).toEqual([0, '']);
      expect(upgraded.stdout).toMatch(/^booted: upgraded: sendall /);
      expect(await run('booted', 'touch', '/root/go')).toMatchObject({ code: 0, stderr: '' });
      expect(await output).toEqual({
        code: 0,
        stdout: Array.from({ length: 3000 }, (_, i) => `${i + 1}\n`).join(''),
        stderr: '',
      });
      const removed = await hosts('uninstall', 'booted', '--purge');
      expect([removed.code, removed.stderr]).toEqual([0, '']);
      for (const path of [
        'etc/systemd/system/sendall-agent.service',
        'etc/systemd/system/sendall-keeper.service',
        'usr/local/lib/sendall',
      ])
        expect(existsSync(join(root, path))).toBe(false);
    });

    test('a user gets services of its own, and hears that they end at logout where lingering is not allowed', async () => {
      // The services end some seconds after the last login has: this one lasts until all has been looked at.
      const [program, ...words] = [...insideOf(machine!), ...site.ssh.split(' '), 'person', 'echo in; exec cat'];
      const login = spawn(program!, words);
      const over = ended(login);
      await within(once(login.stdout, 'readable'), 'the login');
      const said = await hosts('install', 'person', '--port', '0', '--no-share');
      expect([said.code, said.stderr]).toEqual([0, '']);
      expect(said.stdout).toContain('the agent ends when this user logs out');
      const unit = join(root, `home/${USER}/.config/systemd/user/sendall-agent.service`);
      expect(existsSync(unit)).toBe(true);
      expect((await run('person', 'id', '-un')).stdout).toBe(`${USER}\n`);
      expect(await hosts('uninstall', 'person', '--purge')).toMatchObject({ code: 0, stderr: '' });
      expect(existsSync(unit)).toBe(false);
      login.stdin.end();
      expect((await over).code).toBe(0);
    });
  });
});
