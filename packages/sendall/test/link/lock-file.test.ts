import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  lutimesSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lockFile, LockFile } from '../../dist/files/lock-file.js';
import { updatePrivateFile } from '../../dist/files/private-file.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lock-'));
  path = join(folder, 'it.lock');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const HOLD = fileURLToPath(new URL('../dist/hold-lock.js', import.meta.url));

/** A process killed while it held the lock. */
async function killedHolder(lock: string): Promise<void> {
  const child = spawn(process.execPath, [HOLD, lock], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  expect(said.toString()).toBe('held\n');
  child.kill('SIGKILL');
  await once(child, 'exit');
}

/** A lock file without an owner's name. */
function nameless(lock: string): void {
  writeFileSync(lock, '');
  utimesSync(lock, 1, 1);
}

async function held(patience = 60_000, stale = 60_000): Promise<LockFile> {
  const lock = await lockFile(path, { patience, stale });
  if (!(lock instanceof LockFile)) throw new Error('another process has it');
  return lock;
}

const leftBy: [string, (lock: string) => Promise<void> | void][] = [
  ['a process that was killed', killedHolder],
  [
    'two that were killed, one after the other',
    async (lock) => {
      await killedHolder(lock);
      await killedHolder(lock);
    },
  ],
  ['a program that did not name itself', nameless],
  [
    'one of those, and a process that was killed',
    async (lock) => {
      nameless(lock);
      await killedHolder(lock);
    },
  ],
];

describe('a stale lock', () => {
  test.each(leftBy)('of %s goes to one process at a time, and no change is lost', async (_, leave) => {
    const file = join(folder, 'records.json');
    writeFileSync(join(folder, '.sendall'), '');
    await leave(`${file}.lock`);
    const names = Array.from({ length: 20 }, (_each, i) => `name${i}`);
    let inside = 0;
    await Promise.all(
      names.map(
        async (name) =>
          await updatePrivateFile(file, (text) => {
            expect(++inside).toBe(1);
            const changed = JSON.stringify({ ...(JSON.parse(text ?? '{}') as object), [name]: 1 });
            inside--;
            return changed;
          }),
      ),
    );
    expect(Object.keys(JSON.parse(readFileSync(file, 'utf8')) as object).sort()).toEqual(names.sort());
    expect(readdirSync(folder).filter((name) => name.includes('after'))).toEqual([]);
  });
});

describe('a lock', () => {
  test('whose owner lives is not taken, and the owner is named', async () => {
    const lock = await held();
    expect(await lockFile(path, { patience: 0, stale: 60_000 })).toMatchObject({ pid: process.pid });
    expect(lock.state).toBe('held');
    lock.release();
    const next = await held(0);
    expect(lock.state).not.toBe('held');
    next.release();
    expect(readdirSync(folder)).toEqual([]);
  });

  /** Changes the content of the lock. */
  function reword(change: (words: string[]) => string[]): void {
    const words = change(readlinkSync(path).split('.'));
    rmSync(path);
    symlinkSync(words.join('.'), path);
  }

  /** Makes its owner look like a process out of sight. */
  const fromElsewhere = () => reword(([pid, ticks, , token]) => [pid!, ticks!, 'another machine', token!]);

  test('of another machine is taken when it has not been renewed, and its owner sees that', async () => {
    const lock = await held();
    fromElsewhere();
    lutimesSync(path, 1, 1);
    const next = await held();
    expect(lock.state).toBe('taken');
    expect(next.state).toBe('held');
    next.release();
    expect(lock.state).toBe('gone');
    const third = await held();
    expect(lock.state).toBe('taken');
    // The first owner, late: it no longer has the lock.
    lock.release();
    expect(third.state).toBe('held');
  });

  test('of another machine that is renewed is not taken', async () => {
    const lock = await held();
    fromElsewhere();
    const renewals = setInterval(() => lock.renew(), 10);
    expect(await lockFile(path, { patience: 0, stale: 60_000 })).toMatchObject({ place: 'another machine' });
    clearInterval(renewals);
  });

  test('names its owner in few enough bytes for the inode, which works on a full disk', async () => {
    const lock = await held();
    expect(Buffer.byteLength(readlinkSync(path))).toBeLessThan(60);
    lock.release();
  });

  test('whose pid belongs to another process by now is stale', async () => {
    const lock = await held();
    reword(([pid, , ...rest]) => [pid!, '1', ...rest]);
    await held(0);
    expect(lock.state).not.toBe('held');
  });
});
