import { afterAll, expect, test } from 'vitest';
import { testHosts } from 'sendall';
import { trafficOver } from '../dist/traffic.js';
import { patience } from '../../../../test/support/waits.js';

// As many as fit into a test run. `npm run soak -- exact` makes a million.
const CUTS = 6_000;

const fleet = await testHosts(40, { faults: { cutEvery: 4000, seed: 20 }, firstPause: 1, giveUpAfter: 120_000 });
afterAll(() => fleet.close());

test(
  `${CUTS} cuts over random traffic: no byte lost or doubled in stdin, stdout and stderr`,
  { timeout: patience(300_000) },
  async () => {
    const report = await trafficOver(fleet, { seed: 20, until: () => fleet.links >= CUTS + fleet.hosts.length });
    expect(report.wrong).toEqual([]);
    expect(report.runs).toBeGreaterThan(100);
    expect(fleet.links - fleet.hosts.length).toBeGreaterThanOrEqual(CUTS);
  },
);
