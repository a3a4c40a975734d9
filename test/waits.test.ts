import { expect, test } from 'vitest';
import { patience, slowness, until, within } from './support/waits.js';

test('a wait resolves with its value, and its error passes through', async () => {
  expect(await within(Promise.resolve(4), 'a number')).toBe(4);
  let looks = 0;
  expect(await until(() => ++looks === 3 && 'third', 'the third look')).toBe('third');
  await expect(within(Promise.reject(new Error('own')), 'nothing')).rejects.toThrow('own');
});

test('a wait that times out throws an error with its goal and its progress', async () => {
  await expect(within(new Promise(() => {}), 'a promise', 20)).rejects.toThrow(
    /^waited .* s for a promise \(a bound of/,
  );
  let looks = 0;
  const failed = until(
    () => ++looks < 0,
    () => `look ${looks}`,
    20,
  );
  await expect(failed).rejects.toThrow(/for look \d+ \(/);
});

test('bounds grow with the slowness of the machine, never more than tenfold', () => {
  expect(slowness()).toBeGreaterThanOrEqual(1);
  expect(slowness()).toBeLessThanOrEqual(10);
  expect(patience(1_000)).toBeGreaterThanOrEqual(1_000);
  expect(patience(1_000)).toBeLessThanOrEqual(10_000);
});

test('the tests have a home of their own', () => {
  expect(process.env.HOME).toMatch(/sendall-tests-/);
  expect(process.env.SENDALL_HOME?.startsWith(process.env.HOME!)).toBe(true);
});
