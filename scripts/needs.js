/** Lists what the tests need besides npm: a command or a file, its Debian package, and the tests that need it. */
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** @type {{ command: string, package: string, wantedBy: string }[]} `command` may be a file's absolute path. */
export const needs = [
  { command: 'python3', package: 'python3', wantedBy: "the tutorial's Python peers" },
  { command: 'chromium', package: 'chromium', wantedBy: "the lab's page in a browser" },
  { command: 'nft', package: 'nftables', wantedBy: 'paths that lose packets' },
  { command: 'ip', package: 'iproute2', wantedBy: 'network namespaces' },
  { command: 'tcpdump', package: 'tcpdump', wantedBy: 'captures' },
  { command: 'erl', package: 'erlang-base', wantedBy: "the socket server's Erlang peer" },
  { command: 'socat', package: 'socat', wantedBy: "the socket server's peers" },
  { command: 'gcc', package: 'gcc', wantedBy: "the load generator of the socket server's benchmark" },
  { command: 'nodeset', package: 'clustershell', wantedBy: 'sets of host names' },
  { command: 'vim', package: 'vim', wantedBy: 'terminals' },
  { command: 'zsh', package: 'zsh', wantedBy: 'completion' },
  { command: 'fish', package: 'fish', wantedBy: 'completion' },
  { command: 'strace', package: 'strace', wantedBy: 'the order of sync and start' },
  { command: 'groff', package: 'groff-base', wantedBy: 'manual pages' },
  { command: 'nats-server', package: 'nats-server', wantedBy: 'links through a broker' },
  { command: 'sshd', package: 'openssh-server', wantedBy: 'installations by ssh' },
  { command: 'ssh', package: 'openssh-client', wantedBy: 'installations by ssh' },
  { command: 'debootstrap', package: 'debootstrap', wantedBy: 'installations on a bare Debian' },
  { command: 'openssl', package: 'openssl', wantedBy: 'TLS peers and test certificates' },
  { command: 'go', package: 'golang-go', wantedBy: "the log's outside verifier" },
  { command: 'rsync', package: 'rsync', wantedBy: 'rsync over sendall-ssh' },
  { command: 'git', package: 'git', wantedBy: 'git over sendall-ssh' },
  { command: 'sshfs', package: 'sshfs', wantedBy: 'sshfs over sendall-ssh' },
  { command: '/dev/fuse', package: 'fuse3', wantedBy: 'sshfs over sendall-ssh' },
  { command: 'unison', package: 'unison', wantedBy: 'unison over sendall-ssh' },
  { command: 'borg', package: 'borgbackup', wantedBy: 'borg over sendall-ssh' },
  { command: 'restic', package: 'restic', wantedBy: 'restic over sendall-ssh' },
  { command: 'ansible-playbook', package: 'ansible-core', wantedBy: 'ansible over sendall-ssh' },
  { command: 'parallel', package: 'parallel', wantedBy: 'parallel over sendall-ssh' },
  { command: 'docker', package: 'docker.io', wantedBy: 'docker over sendall-ssh' },
  { command: 'dockerd', package: 'docker.io', wantedBy: 'docker over sendall-ssh' },
  {
    command: '/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog/tlog.go',
    package: 'golang-golang-x-mod-dev',
    wantedBy: "the log's outside verifier",
  },
];

/** @param {string} command */
export function onPath(command) {
  if (command.startsWith('/')) return existsSync(command);
  // sbin too: Debian keeps daemons such as sshd and nginx there, outside an ordinary user's PATH.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** @returns {string[]} what is missing and where to get it, one line each; as root on Debian, installs it first */
export function ensureNeeds() {
  let missing = needs.filter((need) => !onPath(need.command));
  if (missing.length && process.getuid?.() === 0 && onPath('apt-get')) {
    const packages = [...new Set(missing.map((need) => need.package))];
    console.log(`installing for the tests: ${packages.join(' ')}`);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    // Waits for the lock of another apt.
    const apt = ['-qq', '-o', 'DPkg::Lock::Timeout=600'];
    // If new package lists cannot be fetched, old ones may do.
    for (const words of [['update'], ['install', '-y', '--no-install-recommends', ...packages]])
      try {
        execFileSync('apt-get', [...apt, ...words], { env, stdio: ['ignore', 'ignore', 'inherit'] });
      } catch (error) {
        console.error(`apt-get failed: ${error instanceof Error ? error.message : String(error)}`);
      }
    missing = needs.filter((need) => !onPath(need.command));
  }
  return missing.map((need) => `${need.command} (Debian package ${need.package}), for ${need.wantedBy}`);
}
