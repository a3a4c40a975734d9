/** Users of this machine, acting as one of them for a moment, and keys that others must not have. */
import type { Libc } from '../../../libc/libc.js';
import { SystemError } from '../../../libc/system-error.js';
import type { Native } from '../native.js';

/** setgroups, setresuid, setresgid: libc's own would change all threads of the process. */
const CREDENTIAL_CALLS: { [arch: string]: readonly [number, number, number] } = {
  x64: [116, 117, 119],
  arm64: [159, 147, 149],
};
/** keyctl, and what it is to do. Source: keyctl(2). */
const KEYCTL: { [arch: string]: number } = { x64: 250, arm64: 219 };
const JOIN_SESSION_KEYRING = 1;
const LINK = 8;
const SESSION_KEYRING = -3;
const USER_KEYRING = -4;
const MOST_GROUPS = 1024;
/** Bytes of struct passwd, and of the strings that it points to. */
const ENTRY = 64;
const STRINGS = 64 * 1024;
/** An id that stays as it is. */
const SAME = -1;

export function userCalls(libc: Libc): Pick<Native, 'account' | 'as' | 'apartFromKeys'> {
  const getpwnam = libc.plain('int getpwnam_r(void *name, void *entry, void *text, size_t length, void *result)');
  const getgrouplist = libc.plain('int getgrouplist(void *name, uint gid, void *groups, void *count)');
  const list = 'long syscall(long number, long count, void *list)';
  const ids = 'long syscall(long number, long real, long effective, long saved, long none)';
  const setgroups = libc.checked(list, 'setgroups');
  const setresgid = libc.checked(ids, 'setresgid');
  const setresuid = libc.checked(ids, 'setresuid');
  const keyctl = libc.plain('long syscall(long number, long what, long a, long b, long none)');
  const word = Buffer.alloc(8);
  const { ENOENT, ESRCH, EBADF, EPERM, EACCES, ENOSYS } = libc.code;
  // Source: getpwnam_r(3): different systems say "no such user" by different numbers.
  const unknown = new Set([0, ENOENT, ESRCH, EBADF, EPERM]);

  /** False where this process may have no keys: its commands have none either. */
  const newKeyring = (): boolean => {
    const number = KEYCTL[process.arch];
    if (number === undefined) return false;
    if (keyctl(number, JOIN_SESSION_KEYRING, 0, 0, 0) >= 0) return true;
    const { errno } = libc;
    // Such as in a container.
    if (errno === ENOSYS || errno === EPERM || errno === EACCES) return false;
    throw new SystemError('keyctl', errno);
  };
  /**
   * A keyring with the keys of this process' user, for this process and its own user's commands. Not the one that this
   * process was started with: a thread that leaves a session keyring cannot come back to it.
   */
  const ownKeyring = (): void => {
    try {
      if (newKeyring()) keyctl(KEYCTL[process.arch]!, LINK, USER_KEYRING, SESSION_KEYRING, 0);
    } catch {
      // No room for one more key, an instant after there was: not worth a command that has just started.
    }
  };
  if (process.geteuid?.() === 0) ownKeyring();

  return {
    apartFromKeys(act) {
      newKeyring();
      try {
        return act();
      } finally {
        ownKeyring();
      }
    },
    account(name) {
      if (name.includes('\0')) return undefined;
      const entry = Buffer.alloc(ENTRY);
      const text = Buffer.alloc(STRINGS);
      const cname = Buffer.from(`${name}\0`);
      word.fill(0);
      const code = getpwnam(cname, entry, text, text.length, word);
      if (!unknown.has(code)) throw new SystemError('getpwnam_r', code);
      if (word.readBigUInt64LE(0) === 0n) return undefined;
      // struct passwd: name, password, uid, gid, comment, home, shell; its strings stand in `text`.
      const base = libc.koffi.address(text);
      const string = (at: number): string => {
        const start = Number(entry.readBigUInt64LE(at) - base);
        return text.toString('utf8', start, text.indexOf(0, start));
      };
      const uid = entry.readUInt32LE(16);
      const gid = entry.readUInt32LE(20);
      const groups = Buffer.alloc(MOST_GROUPS * 4);
      word.writeInt32LE(MOST_GROUPS, 0);
      getgrouplist(cname, gid, groups, word);
      const count = Math.min(word.readInt32LE(0), MOST_GROUPS);
      return {
        name,
        uid,
        gid,
        groups: Array.from({ length: count }, (_, i) => groups.readUInt32LE(i * 4)),
        home: string(32),
        shell: string(40) || '/bin/sh',
      };
    },
    as(user, act) {
      const numbers = CREDENTIAL_CALLS[process.arch];
      if (!numbers) throw new SystemError('setresuid', ENOSYS!);
      const [groupsNo, uidNo, gidNo] = numbers;
      const own = process.getgroups!();
      // The effective ids only: a process whose real one were the user's could be killed by the user's commands.
      try {
        setgroups(groupsNo, user.groups.length, gidArray(user.groups));
        setresgid(gidNo, SAME, user.gid, SAME, 0);
        setresuid(uidNo, SAME, user.uid, SAME, 0);
        return act();
      } finally {
        try {
          setresuid(uidNo, SAME, 0, SAME, 0);
          setresgid(gidNo, SAME, 0, SAME, 0);
          setgroups(groupsNo, own.length, gidArray(own));
        } catch {
          // Better no keeper than one that goes on as another user.
          process.abort();
        }
      }
    },
  };
}

/** gid_t[], as setgroups takes it. */
function gidArray(ids: readonly number[]): Buffer {
  const bytes = Buffer.alloc(Math.max(ids.length * 4, 4));
  for (const [i, id] of ids.entries()) bytes.writeUInt32LE(id, i * 4);
  return bytes;
}
