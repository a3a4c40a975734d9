import { existsSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Terminal } from '../../dist/keeper/system/terminal.js';
import { loadNative } from '../../dist/keeper/system/syscalls.js';
import { starter } from '../../dist/started.js';

const openFiles = (): number => readdirSync('/proc/self/fd').length;

test.skipIf(!existsSync('/dev/ptmx'))('a terminal for which there is no descriptor leaves none behind', async () => {
  const native = (await loadNative(starter()))!;
  const duplicate = (): never => {
    throw new Error('EMFILE');
  };
  const before = openFiles();
  expect(() => new Terminal({ ...native, duplicate }, 80, 24)).toThrow('EMFILE');
  expect(openFiles()).toBe(before);
});
