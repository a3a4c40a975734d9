/** Code compiled by an earlier start: when it is saved, and that another user's is never loaded. */
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { Module } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { rootTest } from '../../../../test/support/root.js';
import { Machine } from './support.js';

const STRANGER = 65_534;
const CORE = fileURLToPath(new URL('../../dist/cli-bundle/core.cjs', import.meta.url));

let machine: Machine;
let home: string;
let folder: string;
beforeAll(async () => {
  machine = await Machine.start();
});
afterAll(async () => await machine[Symbol.asyncDispose]());
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'sendall-cache-'));
  folder = join(home, '.cache/sendall');
  return () => rmSync(home, { recursive: true });
});

const call = (words: string[], env: NodeJS.ProcessEnv = {}) =>
  machine.user.call(words, { env: { HOME: home, ...env } });
const run = (env?: NodeJS.ProcessEnv) => call(['run', '-n', 'local', '--', 'echo', 'done'], env);
const cacheFile = () => join(folder, readdirSync(folder)[0]!);

/** Puts bytecode into the cache that exits with 42: V8 identifies a source by its length alone. */
function plant(): string {
  run();
  const length = Module.wrap(readFileSync(CORE, 'utf8')).length;
  const script = new Script('process.exit(42)'.padEnd(length), { filename: CORE });
  const file = cacheFile();
  writeFileSync(file, script.createCachedData());
  return file;
}

test('the first successful run saves its compiled code, for this user only, and later ones leave it', () => {
  expect(call(['--version']).code).toBe(0);
  expect(call(['run', '-n', 'local', '--', 'false']).code).toBe(1);
  expect(readdirSync(home)).toEqual([]);
  expect(run()).toEqual({ code: 0, stdout: 'done\n', stderr: '' });
  const { version } = process;
  expect(readdirSync(folder)).toEqual([
    expect.stringMatching(
      new RegExp(`^sendall-0\\.1\\.0-[0-9a-f]{16}-node-${version}-${process.platform}-.*\\.cache$`),
    ),
  ]);
  expect([statSync(folder).mode & 0o777, statSync(cacheFile()).mode & 0o777]).toEqual([0o700, 0o600]);
  const { ino } = statSync(cacheFile());
  expect(run().code).toBe(0);
  expect(statSync(cacheFile()).ino).toBe(ino);
});

test('the saved code is loaded', () => {
  plant();
  expect(call(['--version']).code).toBe(42);
  expect(call(['--version'], { NODE_DISABLE_COMPILE_CACHE: '1' }).code).toBe(0);
});

test('a cache that V8 rejects is replaced', () => {
  run();
  writeFileSync(cacheFile(), 'no bytecode');
  expect(run()).toEqual({ code: 0, stdout: 'done\n', stderr: '' });
  expect(statSync(cacheFile()).size).toBeGreaterThan(10_000);
});

test.each<[string, (file: string) => void]>([
  ['the file may be written by others', (file) => chmodSync(file, 0o622)],
  ['the folder may be written by others', (file) => chmodSync(dirname(file), 0o777)],
  ['the folder may be replaced by others', (file) => chmodSync(dirname(dirname(file)), 0o777)],
  [
    'the file is a link',
    (file) => {
      renameSync(file, join(home, 'elsewhere'));
      symlinkSync(join(home, 'elsewhere'), file);
    },
  ],
  [
    'the folder is a link',
    (file) => {
      renameSync(dirname(file), join(home, 'elsewhere'));
      symlinkSync(join(home, 'elsewhere'), dirname(file));
    },
  ],
])('a cache is not loaded when %s', (_, change) => {
  change(plant());
  expect(call(['--version']).code).toBe(0);
});

rootTest('root loads nothing that another user has written, and writes nothing into that user’s folders', () => {
  const file = plant();
  chownSync(file, STRANGER, STRANGER);
  expect(call(['--version']).code).toBe(0);
  for (const each of [file, folder, dirname(folder), home]) chownSync(each, STRANGER, STRANGER);
  expect(call(['--version']).code).toBe(0);
  rmSync(dirname(folder), { recursive: true });
  expect(run().code).toBe(0);
  expect(readdirSync(home)).toEqual([]);
});

test('without a place for it everything works as before', () => {
  writeFileSync(join(home, 'file'), '');
  expect(run({ XDG_CACHE_HOME: join(home, 'file') })).toEqual({ code: 0, stdout: 'done\n', stderr: '' });
  expect(run({ HOME: '/proc/nowhere' })).toEqual({ code: 0, stdout: 'done\n', stderr: '' });
});

test('XDG_CACHE_HOME decides its place', () => {
  expect(run({ XDG_CACHE_HOME: join(home, 'caches') }).code).toBe(0);
  expect(lstatSync(join(home, 'caches')).mode & 0o777).toBe(0o700);
  expect(readdirSync(join(home, 'caches/sendall'))).toHaveLength(1);
});
