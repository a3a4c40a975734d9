import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Terminal } from '../../dist/keeper/system/terminal.js';
import { loadNative } from '../../dist/keeper/system/syscalls.js';
import { starter } from '../../dist/started.js';

/** Open ends of terminals: the runner may open other files meanwhile. */
const openEnds = (): string[] =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return /^\/dev\/(?:ptmx|pts\/)/.test(target) ? [target] : [];
    } catch {
      return []; // closed by now
    }
  });

test.skipIf(!existsSync('/dev/ptmx'))('a terminal for which there is no descriptor leaves none behind', async () => {
  const native = (await loadNative(starter()))!;
  const duplicate = (): never => {
    throw new Error('EMFILE');
  };
  const before = openEnds();
  expect(() => new Terminal({ ...native, duplicate }, 80, 24)).toThrow('EMFILE');
  expect(openEnds()).toEqual(before);
});
