/**
 * Before each file: sets the runner's own bounds, and the random seed. They are set once, and the machine may become
 * slower: so they are wide, and the waits inside a test, which notice that, end first.
 */
import { vi } from 'vitest';
import './seed.js';
import { patience } from './waits.js';

vi.setConfig({
  testTimeout: patience(180_000),
  hookTimeout: patience(240_000),
  expect: { poll: { timeout: patience(30_000) } },
});
