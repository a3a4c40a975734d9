/** An OpenSSH server of our own on loopback, with generated keys, and a warm master connection to it. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

function find(name: string) {
  for (const folder of [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'])
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      // Try the next place.
    }
  return undefined;
}

/** A port that was free a moment ago: sshd cannot say which one it took. */
const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

async function answers(port: number) {
  for (let tries = 0; tries < 500; tries++) {
    const up = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).once('error', () => resolve(false));
      socket.once('data', () => socket.destroy());
    });
    if (up) return;
    await pause(20);
  }
  throw new Error('sshd does not answer');
}

/** OpenSSH's program for sftp, as distributions start it; without it, sshd itself serves sftp. */
const SFTP_SERVERS = ['/usr/lib/openssh/sftp-server', '/usr/libexec/openssh/sftp-server', '/usr/lib/ssh/sftp-server'];

/** What the benchmark's own sshd does otherwise than by default. */
interface SshdOptions {
  readonly address?: string;
  /** Further names of it in ssh_config. */
  readonly names?: string;
  /**
   * Where sftp is served: inside sshd, or by the program that sendall-ssh starts too.
   * @default 'inside'
   */
  readonly sftp?: 'inside' | 'program';
}

/** Starts it, or returns why it is missing. It accepts generated keys only. */
export async function openSshd({ address = '127.0.0.1', names = '', sftp = 'inside' }: SshdOptions = {}) {
  const [sshd, ssh, keygen] = ['sshd', 'ssh', 'ssh-keygen'].map(find);
  if (!sshd || !ssh || !keygen)
    return { missing: 'OpenSSH (Debian packages openssh-server, openssh-client) is not installed' };
  const folder = mkdtempSync(join(tmpdir(), 'sendall-bench-sshd-'));
  const sftpServer = (sftp === 'program' && SFTP_SERVERS.find((path) => existsSync(path))) || 'internal-sftp';
  // sshd requires it. A login shell's rc files would be measured too, so its home is empty.
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });
  mkdirSync(`${folder}/home`);
  for (const key of ['host', 'user']) execFileSync(keygen, ['-q', '-t', 'ed25519', '-N', '', '-f', `${folder}/${key}`]);
  const port = await freePort();
  const user = userInfo().username;
  writeFileSync(`${folder}/authorized_keys`, readFileSync(`${folder}/user.pub`));
  writeFileSync(
    `${folder}/sshd_config`,
    [
      `ListenAddress ${address}:${port}`,
      `HostKey ${folder}/host`,
      `AuthorizedKeysFile ${folder}/authorized_keys`,
      `PidFile ${folder}/pid`,
      `SetEnv HOME=${folder}/home`,
      ...['StrictModes', 'UsePAM', 'PasswordAuthentication', 'KbdInteractiveAuthentication', 'PrintMotd'].map(
        (o) => `${o} no`,
      ),
      'PrintLastLog no',
      'UseDNS no',
      `Subsystem sftp ${sftpServer}`,
      'PermitRootLogin prohibit-password',
      'MaxSessions 1000',
      'MaxStartups 1000',
      'LogLevel QUIET',
      '',
    ].join('\n'),
  );
  const hostKey = readFileSync(`${folder}/host.pub`, 'latin1').split(' ').slice(0, 2).join(' ');
  writeFileSync(`${folder}/known_hosts`, `* ${hostKey}\n`);
  writeFileSync(
    `${folder}/ssh_config`,
    [
      'Host bench',
      '  HostName 127.0.0.1',
      `Host bench ${names}`.trimEnd(),
      `  Port ${port}`,
      `  User ${user}`,
      `  IdentityFile ${folder}/user`,
      '  IdentitiesOnly yes',
      `  UserKnownHostsFile ${folder}/known_hosts`,
      '  GlobalKnownHostsFile /dev/null',
      '  BatchMode yes',
      '  LogLevel ERROR',
      '',
    ].join('\n'),
  );
  const server = spawn(sshd, ['-D', '-e', '-f', `${folder}/sshd_config`], { stdio: ['ignore', 'ignore', 'inherit'] });
  const client = [ssh, '-F', `${folder}/ssh_config`];
  let master: ChildProcess | undefined;
  async function close() {
    for (const child of [master, server])
      if (child && child.exitCode === null) {
        const ended = new Promise((resolve) => child.once('exit', resolve));
        child.kill();
        await ended;
      }
    rmSync(folder, { recursive: true, force: true });
  }
  try {
    await answers(port);
    const control = `${folder}/control`;
    master = spawn(ssh, ['-F', `${folder}/ssh_config`, '-M', '-S', control, '-N', 'bench'], { stdio: 'ignore' });
    for (let tries = 0; !existsSync(control); tries++) {
      if (tries > 500) throw new Error('the ssh master did not start');
      await pause(20);
    }
    return {
      pid: server.pid ?? 0,
      masterPid: master.pid ?? 0,
      config: `${folder}/ssh_config`,
      control,
      port,
      user,
      key: `${folder}/user`,
      /** HOME of its commands. */
      home: `${folder}/home`,
      sftpServer,
      /** A new connection for each command. */
      cold: [...client],
      /** Over the master connection. */
      shared: [...client, '-S', control],
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
