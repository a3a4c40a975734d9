import { expect, test } from 'vitest';
import { fleetOf } from './support.js';
import { trafficOver } from '../dist/traffic.js';
import { patience } from '../../../../test/support/waits.js';

// Each of these ends links with an error, or changes nothing; none may ever change a byte that a caller reads.
test.each([
  ['bytes that come twice', { duplicateEvery: 20_000 }],
  ['bytes in another order', { reorderEvery: 20_000 }],
  ['frames that come twice', { duplicateFramesEvery: 12 }],
  ['frames in another order', { reorderFramesEvery: 12 }],
  ['links that go silent', { stallEvery: 300_000 }],
  ['dials that fail', { cutEvery: 40_000, unreachable: 0.3 }],
  ['small late pieces', { cutEvery: 100_000, slice: 300, delay: { min: 0, max: 4 } }],
  ['everything at once', { cutEvery: 60_000, duplicateFramesEvery: 40, reorderFramesEvery: 40, reorderEvery: 90_000 }],
])('%s corrupt nothing', async (_what, faults) => {
  const fleet = await fleetOf(8, { faults: { ...faults, seed: 4 }, firstPause: 1, pingDeadline: patience(500) });
  let runs = 0;
  const report = await trafficOver(fleet, { seed: 30, until: () => runs >= 60, onRun: () => runs++ });
  expect(report.wrong).toEqual([]);
  expect(report.runs).toBeGreaterThanOrEqual(60);
});
