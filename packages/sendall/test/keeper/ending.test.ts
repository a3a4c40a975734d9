import { expect, test } from 'vitest';
import { Ending, type EndReport } from '../../dist/keeper/run/ending.js';
import { plainNative } from '../../dist/keeper/system/plain.js';
import type { Tree } from '../../dist/keeper/system/tree.js';

test('an end that cannot be enforced completes anyway, and names the survivors', async () => {
  const tree: Tree = {
    proof: 'cgroup',
    cgroup: undefined,
    within: (start) => start(),
    lead: () => undefined,
    alive: () => true,
    members: () => [process.pid],
    suspects: () => [],
    kill: () => Promise.reject(new Error('EMFILE')),
    release: () => undefined,
  };
  const report = await new Promise<EndReport>((done) => new Ending(plainNative('/nonexistent'), tree, 0, done));
  expect(report.survivors).toMatchObject([{ pid: process.pid }]);
});
