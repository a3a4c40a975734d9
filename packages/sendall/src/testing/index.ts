/**
 * # sendall/testing: hosts for tests
 *
 * {@link testHosts} makes hosts in the test's own process: real agents, real commands under one real keeper in a
 * temporary folder, and links in memory that fail as the test asks. The same seed makes the same faults.
 *
 * ```ts
 * import { testHosts } from 'sendall/testing';
 *
 * await using fleet = await testHosts(2, { faults: { seed: 7, cutEvery: 20_000, delay: 5 } });
 * const [one, two] = fleet.hosts;
 * await one.run(['tar', 'c', '/etc']).pipe(two.run(['wc', '-c']));
 * fleet.cut();          // each link, now: the runs go on at the next byte
 * await fleet.fleet.run(['hostname']).gather();
 * ```
 *
 * @module sendall/testing
 */
export { testHosts, type TestFleet, type TestHostsOptions } from './test-hosts.js';
export type { FaultPlan } from './network/faults.js';
