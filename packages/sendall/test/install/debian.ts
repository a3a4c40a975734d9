/** A Debian without Node.js, made by debootstrap, and booted with systemd in namespaces of its own. Needs root. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { until, within } from '../../../../test/support/waits.js';

const SUITE = 'bookworm';
const MIRROR = 'http://deb.debian.org/debian';
/** Besides what every Debian has: what a machine needs that boots and is reached by ssh. */
const PACKAGES = ['systemd-sysv', 'dbus', 'libpam-systemd', 'openssh-server', 'sudo'];
/** A user of it, who may not use sudo. */
export const USER = 'someone';
/** Milliseconds: the first time it downloads some 80 MB. */
const BOOTSTRAP_WITHIN = 240_000;

/** A root folder with /proc and a user. The caller unmounts and removes it. */
export async function debianRoot(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), `sendall-${SUITE}-`));
  const root = join(folder, 'root');
  mkdirSync(root);
  // Packages and root stay in the user's cache, as another Node.js does: the tests' HOME is a temporary one.
  const cache = join(userInfo().homedir, '.cache/sendall-tests', `debian-${SUITE}`);
  mkdirSync(cache, { recursive: true });
  // Names what is in it: with other packages it is another one.
  const kept = join(cache, `${[process.arch, ...PACKAGES].join('-')}.tar`);
  if (existsSync(kept)) {
    const words = ['--extract', '--numeric-owner', '--preserve-permissions', '--directory', root, '--file', kept];
    execFileSync('tar', words, { stdio: ['ignore', 'ignore', 'inherit'] });
  } else {
    await bootstrap(root, cache);
    const beside = `${kept}.${process.pid}`;
    execFileSync('tar', [
      '--create',
      '--numeric-owner',
      '--one-file-system',
      '--directory',
      root,
      '--file',
      beside,
      '.',
    ]);
    renameSync(beside, kept);
  }
  execFileSync('chroot', [root, 'useradd', '--create-home', '--shell', '/bin/bash', '--password', '*', USER]);
  // Without it dbus and systemd have no id of their machine.
  writeFileSync(join(root, 'etc/machine-id'), 'uninitialized\n');
  return root;
}

async function bootstrap(root: string, cache: string): Promise<void> {
  // A root for tests need not survive a power failure, so dpkg syncs none of its files.
  const settings = join(root, 'etc/dpkg/dpkg.cfg.d');
  mkdirSync(settings, { recursive: true });
  writeFileSync(join(settings, 'no-sync'), 'force-unsafe-io\n');
  const options = ['--variant=minbase', `--include=${PACKAGES.join(',')}`, `--cache-dir=${cache}`];
  const child = spawn('debootstrap', [...options, SUITE, root, MIRROR], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-2000)));
  const [code] = (await within(once(child, 'exit'), () => `debootstrap: ${said}`, BOOTSTRAP_WITHIN)) as [number];
  if (code !== 0) throw new Error(`debootstrap: ${said}`);
  rmSync(join(settings, 'no-sync'));
}

/** Becomes the root's first process, in a cgroup and namespaces of its own; the kernel's settings are read-only. */
const BOOT = `
set -e
root=$1
ip link set lo up
mount --make-rprivate /
mount --bind $root $root
mount -t proc proc $root/proc
mount --bind $root/proc/sys $root/proc/sys
mount -o remount,bind,ro $root/proc/sys
mount -t sysfs -o ro sysfs $root/sys
mount -t tmpfs tmpfs $root/run
mount -t tmpfs -o mode=755 tmpfs $root/dev
for each in null zero full random urandom tty; do : >$root/dev/$each; mount --bind /dev/$each $root/dev/$each; done
mkdir $root/dev/pts $root/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts $root/dev/pts
ln -s pts/ptmx $root/dev/ptmx
ln -s /proc/self/fd $root/dev/fd
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 tmpfs $root/sys/fs/cgroup
  mkdir $root/sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd systemd $root/sys/fs/cgroup/systemd
fi
container=lxc exec chroot $root /lib/systemd/systemd
`;

/** The cgroup of a booted root: below the hierarchy of systemd where there are several, else below the only one. */
const cgroupOf = (root: string): string => {
  const top = existsSync('/sys/fs/cgroup/cgroup.controllers') ? '/sys/fs/cgroup' : '/sys/fs/cgroup/systemd';
  return join(top, root.split('/').at(-2)!);
};

/** Boots the root with systemd. Its network has nothing but a loopback of its own: see `insideOf`. */
export function boot(root: string): ChildProcess {
  const enter =
    'mkdir "$2"; echo $$ >"$2/cgroup.procs"; exec unshare --pid --mount --ipc --uts --net --cgroup --fork --kill-child sh -c "$3" boot "$1"';
  return spawn('sh', ['-c', enter, 'enter', root, cgroupOf(root), BOOT], { stdio: 'ignore' });
}

/** The words before a command line that runs it in the network of a booted root. */
export const insideOf = ({ pid }: ChildProcess): string[] => ['nsenter', `--net=/proc/${pid}/ns/net`];

/** Ends a booted root, with all its processes. */
export async function shutDown(root: string, machine: ChildProcess): Promise<void> {
  if (machine.exitCode === null && machine.signalCode === null) {
    machine.kill('SIGKILL');
    await once(machine, 'exit');
  }
  await until(() => isRemoved(cgroupOf(root)), 'the cgroup of the booted root to be empty');
}

function isRemoved(cgroup: string): boolean {
  if (!existsSync(cgroup)) return true;
  for (const entry of readdirSync(cgroup, { withFileTypes: true }))
    if (entry.isDirectory() && !isRemoved(join(cgroup, entry.name))) return false;
  try {
    rmdirSync(cgroup);
    return true;
  } catch {
    return false;
  }
}
