/**
 * Tests of what only root can do: small disks, other users, cgroups. As another user they do not run, and npm test
 * names them at its end.
 */
import { describe, test } from 'vitest';

const root = process.getuid?.() === 0;
export const rootTest = test.runIf(root);
export const rootDescribe = describe.runIf(root);
