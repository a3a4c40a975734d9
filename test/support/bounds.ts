/** Before each file: the runner's own bounds, as this machine is now, and the seed of what is random. */
import { vi } from 'vitest';
import './seed.js';
import { patience } from './waits.js';

vi.setConfig({
  testTimeout: patience(90_000),
  hookTimeout: patience(120_000),
  expect: { poll: { timeout: patience(15_000) } },
});
