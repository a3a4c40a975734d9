/** Before each file: sets the runner's own bounds for this machine's present speed, and the random seed. */
import { vi } from 'vitest';
import './seed.js';
import { patience } from './waits.js';

vi.setConfig({
  testTimeout: patience(90_000),
  hookTimeout: patience(120_000),
  expect: { poll: { timeout: patience(15_000) } },
});
