/** A system call that fails is named, with its errno. */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { failedCall, SystemError } from '../../dist/libc/system-error.js';
import type { Native } from '../../dist/keeper/system/native.js';
import { loadNative } from '../../dist/keeper/system/syscalls.js';
import { starter } from '../../dist/started.js';
import { rootTest } from '../../../../test/support/root.js';

/** A descriptor number no process reaches. */
const NOWHERE = 1_000_000_000;

let native: Native;
let folder: string;
let cwd: number;
beforeAll(async () => {
  native = (await loadNative(starter()))!;
  folder = mkdtempSync(join(tmpdir(), 'calls-'));
  cwd = openSync(folder, 'r');
});
afterAll(() => {
  closeSync(cwd);
  rmSync(folder, { recursive: true });
});

const path = (name: string): Buffer => Buffer.from(`${name}\0`);
const plan = (more: object) => ({
  path: path('/bin/true'),
  words: native.words([Buffer.from('true')], []),
  cwd,
  stdin: 0,
  stdout: 1,
  stderr: 2,
  ...more,
});

test.each([
  ['a lock', 'flock: EBADF', () => native.lock(NOWHERE)],
  ['a copy', 'fcntl: EBADF', () => native.duplicate(NOWHERE)],
  ['a read', 'read: EBADF', () => native.read(NOWHERE, Buffer.alloc(1))],
  ['a folder to start in', 'posix_spawn: EBADF', () => native.spawn(native.arrange(plan({ cwd: NOWHERE })))],
  ['a stdin', 'posix_spawn_file_actions_adddup2: EBADF', () => native.arrange(plan({ stdin: NOWHERE }))],
  [
    'a program',
    'posix_spawn: ENOENT',
    () => native.spawn(native.arrange(plan({ path: path(join(folder, 'not-there')) }))),
  ],
  ['a socket', 'bind: ENOENT', () => native.recordSockets(join(folder, 'not-there', 'socket'))],
])('%s that fails: %s', (_, message, act) => {
  expect(act).toThrow(message);
});

rootTest('groups that the kernel does not take are not blamed on the user id', () => {
  const user = { name: 'x', uid: 1, gid: 1, groups: Array.from({ length: 70_000 }, () => 1), home: '/', shell: '' };
  expect(() => native.as(user, () => undefined)).toThrow('setgroups: EINVAL');
  expect(process.geteuid!()).toBe(0);
});

test('a lock held by another open file is no failure', () => {
  const file = join(folder, 'lock');
  writeFileSync(file, '');
  const [one, two] = [openSync(file, 'r+'), openSync(file, 'r+')];
  expect([native.lock(one), native.lock(two)]).toEqual([true, false]);
  closeSync(one);
  expect(native.lock(two)).toBe(true);
  closeSync(two);
});

test('a number with two names has the usual one', () => {
  expect(new SystemError('posix_spawn', constants.errno.EWOULDBLOCK).message).toBe('posix_spawn: EAGAIN');
});

test('an error of Node’s is named in the same way', () => {
  const error = (() => {
    try {
      return openSync(join(folder, 'not-there'), 'r');
    } catch (thrown) {
      return thrown;
    }
  })();
  expect(failedCall(error)).toBe('open: ENOENT');
  expect(failedCall(new Error('something else'))).toBe('something else');
});
