import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { testHosts, UsageError } from 'sendall';
import { fleetOf } from './support.js';

test('hosts have names and runs of their own, and run real commands', async () => {
  const fleet = await fleetOf(3);
  expect(fleet.hosts.map(({ id }) => id)).toEqual(['test-1', 'test-2', 'test-3']);
  const results = await Promise.all(fleet.hosts.map((host) => host.sh(`echo ${host.id}`)));
  expect(results.map(({ stdout }) => stdout)).toEqual(['test-1\n', 'test-2\n', 'test-3\n']);
  for (const host of fleet.hosts) {
    const listed = [];
    for await (const run of host.runs({ all: true })) listed.push(run);
    expect(listed).toHaveLength(1);
  }
});

test('closing a fleet ends its commands and its keeper and removes its folder', async () => {
  const fleet = await testHosts(1);
  const { pid } = await fleet.hosts[0]!.run(['sleep', '600']).started;
  const { keeperPid, home } = fleet;
  await fleet.close();
  await fleet.close();
  expect(() => process.kill(pid, 0)).toThrow();
  expect(() => process.kill(keeperPid!, 0)).toThrow();
  expect(existsSync(home.state)).toBe(false);
});

test.each([
  [{ faults: { cutEvry: 3 } }, /no fault "cutEvry"/],
  [{ faults: { cutEvery: 0 } }, /cutEvery: 0/],
  [{ faults: { unreachable: 2 } }, /unreachable: 2/],
  [{ faults: { delay: { min: 3, max: 1 } } }, /delay: from 3 to 1/],
  [{ fault: {} }, /no option "fault"/],
])('options that make no sense are refused: %j', async (options, message) => {
  await expect(testHosts(1, options as object)).rejects.toThrow(UsageError);
  await expect(testHosts(1, options as object)).rejects.toThrow(message);
});

test('more runs than fit in one page are all listed', async () => {
  const fleet = await fleetOf(1);
  const host = fleet.hosts[0]!;
  await Promise.all(Array.from({ length: 300 }, () => host.run(['true'])));
  let listed = 0;
  for await (const _ of host.runs({ all: true })) listed++;
  expect(listed).toBe(300);
});
