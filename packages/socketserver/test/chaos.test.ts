import { expect, test } from 'vitest';
import { chaos, ENOUGH } from './dist/chaos.js';
import { drawSeed } from '../../../test/support/seed.js';

test.each(['inline', 'threads', 'threads on one socket', 'processes'] as const)(
  'after connects, resets, garbage, stalls and killed workers: it answers, holds nothing, its counts add up (%s)',
  async (mode) => {
    const seed = drawSeed();
    const result = await chaos({ mode, ms: 3_000, seed });
    const told = `seed ${seed}: ${JSON.stringify(result)}`;
    expect(result.wrong, told).toEqual([]);
    expect(result.echoed, told).toBeGreaterThan(ENOUGH);
    expect(result.answers, told).toBe(true);
    expect(result.connections, told).toBe(0);
    expect(result.closed, told).toBe(result.opened);
    expect(result.opened + result.dropped, told).toBe(result.accepted);
    expect(result.descriptorsAfter, told).toBeLessThanOrEqual(result.descriptorsBefore + 8);
  },
);
