/** posix_spawn: what a command gets is laid out before, and one call starts it. */
import type { Starter } from '../../../started.js';
import { adoptOomScore, Inheritance, OomScore } from '../inheritance.js';
import { ROOM, type Libc, type Value } from '../../../libc/libc.js';
import { SystemError } from '../../../libc/system-error.js';
import { FIRST_AFTER_STANDARD, type Native, type SpawnCall } from '../native.js';

const O_RDWR = 2;
const SPAWN_SETSIGDEF = 0x04;
const SPAWN_SETSIGMASK = 0x08;
const SPAWN_SETSID = 0x80;
/** From glibc 2.39 on. */
const SPAWN_SETCGROUP = 0x100;
/** Bytes of a sigset_t. */
const SIGNAL_SET = 128;
const POINTER = 8;

const POSIX_SPAWN = 'int posix_spawn(void *pid, void *path, void *actions, void *attr, void *argv, void *env)';

type Spawn = Pick<
  Native,
  | 'words'
  | 'arrange'
  | 'callOf'
  | 'callDone'
  | 'expectRuns'
  | 'adopt'
  | 'isLastToGo'
  | 'bearsInGroups'
  | 'hardLimit'
  | 'spawn'
  | 'discard'
>;

export function spawnCalls(libc: Libc, starter: Starter): Spawn {
  const { koffi } = libc;
  const posixSpawn = libc.plain(POSIX_SPAWN);
  const actionsInit = libc.checkedByResult('int posix_spawn_file_actions_init(void *actions)');
  const actionsDestroy = libc.plain('int posix_spawn_file_actions_destroy(void *actions)');
  const addDup2 = libc.checkedByResult('int posix_spawn_file_actions_adddup2(void *actions, int from, int to)');
  const addOpen = libc.checkedByResult(
    'int posix_spawn_file_actions_addopen(void *actions, int fd, void *path, int flags, int mode)',
  );
  const addFchdir = libc.checkedByResult('int posix_spawn_file_actions_addfchdir_np(void *actions, int fd)');
  const addCloseFrom = libc.checkedByResult('int posix_spawn_file_actions_addclosefrom_np(void *actions, int from)');
  const attributes = spawnAttributes(libc);
  const inGroup = groupAttributes(libc);
  const inheritance = new Inheritance(limitCalls(libc), starter);
  const oomScore = OomScore.lower();
  const pid = Buffer.alloc(8);
  /** Not in use now. */
  const spareActions: Buffer[] = [];

  const discard = (actions: Buffer): void => {
    actionsDestroy(actions);
    spareActions.push(actions);
  };

  return {
    words(argv, env) {
      const slots = argv.length + env.length + 2;
      let size = slots * POINTER;
      for (const word of argv) size += word.length + 1;
      for (const word of env) size += word.length + 1;
      // Not from the pool: its address must not change and its pages must be ours.
      const block = Buffer.allocUnsafeSlow(Math.max(size, 128));
      const base = koffi.address(block);
      let at = slots * POINTER;
      let slot = 0;
      for (const list of [argv, env]) {
        for (const word of list) {
          block.writeBigUInt64LE(base + BigInt(at), slot++ * POINTER);
          block.set(word, at);
          at += word.length;
          block[at++] = 0;
        }
        block.writeBigUInt64LE(0n, slot++ * POINTER);
      }
      return { block, argv: block, env: block.subarray((argv.length + 1) * POINTER) };
    },
    arrange(plan) {
      const actions = spareActions.pop() ?? Buffer.alloc(ROOM);
      actionsInit(actions);
      try {
        addFchdir(actions, plan.cwd);
        if (plan.terminal) {
          addOpen(actions, 0, plan.terminal, O_RDWR, 0);
          addDup2(actions, 0, 1);
          addDup2(actions, 0, 2);
        } else {
          addDup2(actions, plan.stdin, 0);
          addDup2(actions, plan.stdout, 1);
          addDup2(actions, plan.stderr, 2);
        }
        const { more = [] } = plan;
        const end = FIRST_AFTER_STANDARD + more.length;
        let spare = end;
        // One whose number another one will have goes elsewhere first.
        const from = more.map((fd) => {
          if (fd >= end) return fd;
          while (more.includes(spare)) spare++;
          addDup2(actions, fd, spare);
          return spare++;
        });
        for (const [i, fd] of from.entries()) addDup2(actions, fd, FIRST_AFTER_STANDARD + i);
        addCloseFrom(actions, end);
      } catch (error) {
        discard(actions);
        throw error;
      }
      return { plan, actions };
    },
    callOf({ plan, actions }) {
      if (!inheritance.isShared || plan.cgroup !== undefined) return undefined;
      oomScore?.lend();
      const { argv, env } = plan.words;
      const [path, argvAt, envAt] = [plan.path, argv, env].map((each) => koffi.address(each)) as [
        bigint,
        bigint,
        bigint,
      ];
      return { path, actions: koffi.address(actions), argv: argvAt, env: envAt };
    },
    callDone: () => oomScore?.giveBack(),
    expectRuns: (count) => inheritance.expect(count),
    adopt(next) {
      const different = inheritance.adopt(next);
      const { oomScore: score } = next;
      if (score === undefined) return different;
      if (oomScore) oomScore.adopt(score);
      else if (!adoptOomScore(score)) different.push('OOM score');
      return different;
    },
    isLastToGo: oomScore !== undefined,
    bearsInGroups: inGroup !== undefined,
    hardLimit: (resource) => inheritance.hardLimit(resource),
    spawn({ plan, actions }) {
      oomScore?.lend();
      const code = inheritance.lend(() =>
        posixSpawn(
          pid,
          plan.path,
          actions!,
          plan.cgroup === undefined ? attributes : inGroup!(plan.cgroup),
          plan.words.argv,
          plan.words.env,
        ),
      );
      oomScore?.giveBack();
      discard(actions!);
      if (code !== 0) throw new SystemError('posix_spawn', code);
      return pid.readInt32LE(0);
    },
    discard: ({ actions }) => discard(actions!),
  };
}

/** posix_spawn for a thread that is given its calls by another. */
export function spawnByCall(libc: Libc): (call: SpawnCall) => { errno: number; pid: number } {
  const posixSpawn = libc.plain(POSIX_SPAWN);
  const attributes = spawnAttributes(libc);
  const pid = Buffer.alloc(8);
  return ({ path, actions, argv, env }) => {
    const errno = posixSpawn(pid, path, actions, attributes, argv, env);
    return { errno, pid: pid.readInt32LE(0) };
  };
}

/**
 * Attributes for a child that is born in a cgroup of version 2; undefined where the C library has none.
 * Source: glibc 2.39, posix_spawnattr_setcgroup_np.
 */
function groupAttributes(libc: Libc): ((cgroup: number) => Buffer) | undefined {
  try {
    const setCgroup = libc.checkedByResult('int posix_spawnattr_setcgroup_np(void *attr, int cgroup)');
    const attributes = spawnAttributes(libc, SPAWN_SETCGROUP);
    return (cgroup) => {
      setCgroup(attributes, cgroup);
      return attributes;
    };
  } catch {
    return undefined;
  }
}

/** Every signal has its default and is unblocked: a child would inherit Node's ignored SIGPIPE. */
function spawnAttributes(libc: Libc, more = 0): Buffer {
  const attributes = Buffer.alloc(ROOM);
  const set = (declaration: string, ...values: Value[]): void =>
    void libc.checkedByResult(declaration)(attributes, ...values);
  set('int posix_spawnattr_init(void *attr)');
  set(
    'int posix_spawnattr_setflags(void *attr, short flags)',
    SPAWN_SETSIGDEF | SPAWN_SETSIGMASK | SPAWN_SETSID | more,
  );
  set('int posix_spawnattr_setsigdefault(void *attr, void *set)', Buffer.alloc(SIGNAL_SET, 0xff));
  set('int posix_spawnattr_setsigmask(void *attr, void *set)', Buffer.alloc(SIGNAL_SET));
  return attributes;
}

/** getrlimit and setrlimit of this process. */
function limitCalls(libc: Libc): ConstructorParameters<typeof Inheritance>[0] {
  const prlimit = libc.plain('int prlimit(int pid, int resource, void *value, void *old)');
  const limit = Buffer.alloc(16);
  return {
    get(resource) {
      prlimit(0, resource, null, limit);
      return { soft: limit.readBigUInt64LE(0), hard: limit.readBigUInt64LE(8) };
    },
    set(resource, { soft, hard }) {
      limit.writeBigUInt64LE(soft, 0);
      limit.writeBigUInt64LE(hard, 8);
      return prlimit(0, resource, limit, null) === 0;
    },
  };
}
