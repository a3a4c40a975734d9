/** Random values in tests come from a seed. It is printed when the test fails; TEST_SEED sets it. */
import { onTestFailed } from 'vitest';

const given = process.env.TEST_SEED;
if (given !== undefined && !/^\d{1,9}$/.test(given))
  throw new Error(`TEST_SEED is "${given}": it must be a number of at most nine digits`);

// fast-check prints its seed itself; it takes long to load, so only files that use it pay for it.
if (given !== undefined) (await import('fast-check')).configureGlobal({ seed: Number(given) });

/** The seed of the running test. */
export function drawSeed() {
  const seed = given === undefined ? Math.floor(Math.random() * 1e9) : Number(given);
  onTestFailed(() => console.error(`repeat with TEST_SEED=${seed}`));
  return seed;
}
