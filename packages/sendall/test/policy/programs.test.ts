import { realpathSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ThisMachine } from '../../dist/policy/this-machine.js';

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
  expect(machine.account('root')).toEqual({ name: 'root', uid: 0 });
  expect(machine.account('no-such-user-here')).toBeUndefined();
});
