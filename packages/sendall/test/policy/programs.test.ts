import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ThisMachine } from '../../dist/policy/this-machine.js';
import { rootDescribe } from '../../../../test/support/root.js';

const machine = new ThisMachine(0);

test('a program of the system is safe, and its links are followed', () => {
  const checked = machine.program('/bin/sh');
  expect(checked).toMatchObject({ path: Buffer.from(realpathSync('/bin/sh')) });
});

test('a program that is not there, a folder and a file without x are not started', () => {
  expect(machine.program('/usr/bin/no-such-program')).toEqual({ problem: '/usr/bin/no-such-program is not there' });
  expect(machine.program('/usr/bin')).toEqual({ problem: '/usr/bin is not a program' });
  expect(machine.program('/etc/passwd')).toEqual({ problem: '/etc/passwd may not be executed' });
  expect(machine.program('/etc/passwd/x')).toHaveProperty('problem');
});

test('accounts come from the password file', () => {
  expect(machine.account('root')).toEqual({ name: 'root', uid: 0, home: '/root' });
  expect(machine.account('no-such-user-here')).toBeUndefined();
});

rootDescribe('a program can be changed by others', () => {
  /** All folders above it are root's alone. */
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync('/var/lib/sendall-programs-');
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const at = (name: string) => join(folder, name);
  function script(name: string, text = '#!/bin/sh\nexit 0\n'): string {
    writeFileSync(at(name), text, { mode: 0o755 });
    chmodSync(at(name), 0o755);
    return at(name);
  }
  const problemOf = (path: string) => (machine.program(path) as { problem?: string }).problem;

  test("not if all is root's", () => {
    expect(problemOf(script('good'))).toBeUndefined();
    expect(problemOf(script('plain', 'exit 0\n'))).toBeUndefined();
    symlinkSync('good', at('link'));
    expect(machine.program(at('link'))).toMatchObject({ path: Buffer.from(at('good')) });
  });

  test('if the file is', () => {
    const path = script('group');
    chmodSync(path, 0o775);
    expect(problemOf(path)).toBe(`${path} can be changed by others: its mode is 775`);
    chmodSync(path, 0o755);
    expect(problemOf(path)).toBeUndefined();
    chownSync(path, 2, 2);
    expect(problemOf(path)).toBe(`${path} can be changed by others: it belongs to user 2`);
  });

  test('if a folder is', () => {
    mkdirSync(at('open'));
    const path = script('open/program');
    chmodSync(at('open'), 0o1777);
    expect(problemOf(path)).toBe(`${path}: ${at('open')} can be changed by others: its mode is 1777`);
    chmodSync(at('open'), 0o755);
    chownSync(at('open'), 2, 2);
    expect(problemOf(path)).toBe(`${path}: ${at('open')} can be changed by others: it belongs to user 2`);
  });

  test('if the folder of a link on the way is, though the file is not', () => {
    script('target');
    mkdirSync(at('links'));
    symlinkSync('../target', at('links/program'));
    expect(problemOf(at('links/program'))).toBeUndefined();
    symlinkSync('links', at('through'));
    expect(problemOf(at('through/program'))).toBeUndefined();
    chmodSync(at('links'), 0o777);
    for (const path of [at('links/program'), at('through/program')])
      expect(problemOf(path)).toMatch(/links can be changed/);
  });

  test('if its interpreter is', () => {
    mkdirSync(at('bin'));
    const interpreter = script('bin/interpreter');
    const path = script('script', `#! ${interpreter} -x\n`);
    const second = script('second', `#!${path}\n`);
    for (const each of [path, second]) expect(problemOf(each)).toBeUndefined();
    chmodSync(interpreter, 0o757);
    for (const each of [path, second]) expect(problemOf(each)).toMatch(/bin\/interpreter can be changed by others/);
    expect(problemOf(script('relative', '#!sh\n'))).toMatch(/is no absolute path/);
    const circle = script('circle', `#!${at('circle')}\n`);
    expect(problemOf(circle)).toMatch(/interpreter of too many scripts/);
  });

  test('if what env finds for it cannot be told', () => {
    expect(problemOf(script('env', '#!/usr/bin/env sh\n'))).toBeUndefined();
    for (const line of ['env -S sh -e', 'env X=y sh', 'env', 'env ./sh', 'env /bin/sh'])
      expect(problemOf(script('env-bad', `#!/usr/bin/${line}\n`))).toMatch(/cannot be told|is not there/);
    expect(problemOf(script('env-none', '#!/usr/bin/env no-such-interpreter\n'))).toMatch(/no folder of/);
  });

  test('a script that was changed is looked into again', () => {
    const path = script('changing', '#!/bin/sh\n');
    expect(problemOf(path)).toBeUndefined();
    script('changing', '#!/bin/no-such-shell\n');
    expect(problemOf(path)).toBe('/bin/no-such-shell is not there');
  });

  test('links in a circle, and many of them, end', () => {
    symlinkSync('b', at('a'));
    symlinkSync('a', at('b'));
    expect(problemOf(at('a'))).toMatch(/more than 40 links/);
  });
});
