import { defineConfig } from 'vitest/config';
import { LongFirst } from './test/support/order.js';

// Tests import the packages by name, so they run what users run: the built files.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts', 'packages/*/test/**/*.test.ts'],
    globalSetup: 'test/support/home.js',
    setupFiles: 'test/support/bounds.js',
    sequence: { sequencer: LongFirst },
    pool: 'forks',
    maxWorkers: 3,
  },
});
