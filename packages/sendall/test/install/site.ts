/** A machine that ssh reaches: a real sshd on loopback, with keys of its own and users made for the test. Needs root. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { alive } from '../../../../test/support/alive.js';
import { until } from '../../../../test/support/waits.js';
import { changeAccounts } from '../accounts.js';
import { SENDALL, User, type Ended } from '../cli/support.js';
import { heldPort } from '../dist/held-port.js';

/** Whether an SSH server speaks there. */
export async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const isUp = await Promise.race([
    once(socket, 'data').then(() => true),
    once(socket, 'error').then(
      () => false,
      () => false,
    ),
    once(socket, 'close').then(() => false),
  ]).catch(() => false);
  socket.destroy();
  return isUp;
}

/** A user of the machine, with a home below /tmp. */
export interface Account {
  readonly name: string;
  readonly home: string;
}

let accounts = 0;

export function addAccount(shell = '/bin/bash'): Account {
  const home = mkdtempSync(join(tmpdir(), 'sendall-account-'));
  const name = `sendall-${process.pid}-${++accounts}`;
  // "*": no password, and yet not locked.
  changeAccounts('useradd', '--no-create-home', '--home-dir', home, '--shell', shell, '--password', '*', name);
  execFileSync('chown', [`${name}:`, home]);
  return { name, home };
}

/** Where an account keeps its runs. */
export const stateOf = ({ home }: Account): string => join(home, '.local/state/sendall');
/** Where an account's installation is. */
export const rootOf = ({ home }: Account): string => join(home, '.local/lib/sendall');

/** Ends what still runs of the account, and empties its home. */
export async function resetAccount({ name, home }: Account): Promise<void> {
  const uid = execFileSync('id', ['-u', name], { encoding: 'utf8' }).trim();
  const isGone = (): boolean => {
    const left = processesOf(uid);
    for (const pid of left) kill(pid);
    return !left.length;
  };
  await until(isGone, 'the processes of the account to end');
  for (const each of readdirSync(home)) rmSync(join(home, each), { recursive: true, force: true });
}

export async function removeAccount(account: Account): Promise<void> {
  await resetAccount(account);
  rmSync(account.home, { recursive: true });
  changeAccounts('userdel', account.name);
}

/** Removes a caller's home; a process that holds warm links may just be starting there. */
export async function removeCaller(caller: User): Promise<void> {
  const isRemoved = (): boolean => {
    try {
      caller[Symbol.dispose]();
      return true;
    } catch {
      return false;
    }
  };
  await until(isRemoved, 'the home of the caller to be left alone');
}

/** Kills a process, which may have ended since it was seen. */
export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The living processes of a user that exists for the test only. */
function processesOf(uid: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const status = readFileSync(`/proc/${pid}/status`, 'latin1');
        return new RegExp(`^Uid:\\s+${uid}\\s`, 'm').test(status) && alive(pid);
      } catch {
        return false;
      }
    });
}

/** Kills the account's agent, like a reboot. */
export async function endAgent(account: Account): Promise<void> {
  const owner = join(stateOf(account), 'agent.owner');
  if (!linkAt(owner)) return;
  const pid = Number(linkAt(owner)!.split('.')[0]);
  kill(pid);
  await until(() => !alive(pid), 'the agent to end');
}

export function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** One name that ssh knows. */
export interface Entry {
  readonly user: string;
  /** Instead of the login shell's command. */
  readonly force?: string;
  /** Another PATH than one with this Node.js. */
  readonly path?: string;
}

export class Site implements AsyncDisposable {
  /** The value of --ssh. */
  readonly ssh: string;
  readonly folder: string;
  readonly #sshd: ChildProcess;

  private constructor(folder: string, sshd: ChildProcess) {
    this.folder = folder;
    this.ssh = `ssh -F ${folder}/ssh_config`;
    this.#sshd = sshd;
  }

  /** Starts sshd, with a port for each name. `others`: names for servers elsewhere on this machine. */
  static async start(
    entries: Readonly<Record<string, Entry>>,
    others: Readonly<Record<string, { readonly user: string; readonly port: number }>> = {},
  ): Promise<Site> {
    const folder = mkdtempSync(join(tmpdir(), 'sendall-sshd-'));
    chmodSync(folder, 0o755);
    mkdirSync('/run/sshd', { recursive: true });
    for (const key of ['host', 'user', 'other'])
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, key)]);
    copyFileSync(join(folder, 'user.pub'), join(folder, 'authorized_keys'));
    chmodSync(join(folder, 'authorized_keys'), 0o644);
    const ports = new Map<string, number>();
    for (const name of Object.keys(entries)) ports.set(name, await heldPort());
    const usual = `${dirname(process.execPath)}:/usr/bin:/bin`;
    const server = [
      ...[...ports.values()].map((port) => `ListenAddress 127.0.0.1:${port}`),
      `HostKey ${folder}/host`,
      `AuthorizedKeysFile ${folder}/authorized_keys`,
      `PidFile ${folder}/pid`,
      ...['StrictModes', 'UsePAM', 'PasswordAuthentication', 'KbdInteractiveAuthentication', 'UseDNS'].map(
        (o) => `${o} no`,
      ),
      'PermitRootLogin prohibit-password',
      'LogLevel QUIET',
      ...Object.entries(entries).flatMap(([name, { user, force, path }]) => [
        `Match LocalPort ${ports.get(name)}`,
        // Who runs the tests may have a profile that is slow, locks files or speaks.
        `  SetEnv PATH=${path ?? usual}${user === userInfo().username ? ` HOME=${folder}` : ''}`,
        ...(force === undefined ? [] : [`  ForceCommand ${force}`]),
      ]),
    ];
    const client = [
      ...Object.entries({ ...entries, ...others }).flatMap(([name, { user }]) => [
        `Host ${name}`,
        '  HostName 127.0.0.1',
        `  Port ${ports.get(name) ?? others[name]?.port}`,
        `  User ${user}`,
      ]),
      'Host *',
      `  IdentityFile ${folder}/user`,
      '  IdentitiesOnly yes',
      `  UserKnownHostsFile ${folder}/known_hosts`,
      '  GlobalKnownHostsFile /dev/null',
      '  LogLevel ERROR',
    ];
    const hostKey = readFileSync(join(folder, 'host.pub'), 'latin1').split(' ').slice(0, 2).join(' ');
    writeFileSync(join(folder, 'known_hosts'), `* ${hostKey}\n`);
    writeFileSync(join(folder, 'sshd_config'), `${server.join('\n')}\n`);
    writeFileSync(join(folder, 'ssh_config'), `${client.join('\n')}\n`);
    const sshd = spawn(onSbin('sshd'), ['-D', '-f', join(folder, 'sshd_config')], { stdio: 'ignore' });
    for (const port of ports.values()) await until(() => answers(port), 'sshd');
    return new Site(folder, sshd);
  }

  /** `sendall hosts WORDS --ssh …` of a caller; with another program or ssh, or behind other words. */
  async hosts(
    caller: User,
    words: readonly string[],
    { program = SENDALL, ssh = this.ssh, before = [] as readonly string[] } = {},
  ): Promise<Ended> {
    const [first, ...rest] = [...before, process.execPath, program, 'hosts', ...words, '--ssh', ssh];
    const child = spawn(first!, rest, {
      env: caller.env(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return await ended(child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#sshd.kill();
    if (this.#sshd.exitCode === null) await once(this.#sshd, 'exit');
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A process's output, at its end. */
export async function ended(child: ChildProcess): Promise<Ended> {
  const end = once(child, 'close') as Promise<[number | null]>;
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), end]);
  return { code, stdout, stderr };
}

/** sshd wants to be started by its whole path, which an ordinary PATH does not have. */
function onSbin(name: string): string {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
}
