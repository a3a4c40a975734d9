/** docs/security.md names a test for each promise, and each test that it names exists. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = readFileSync(`${root}docs/security.md`, 'utf8');
const table = /^\| promise \|.*\n\|[-|]+\|\n((?:\|.*\n)+)/m.exec(page)![1]!;
const promises = table
  .trim()
  .split('\n')
  .map((line) => {
    const [promise = '', , tests = ''] = line.split('|').slice(1, -1);
    return [promise.trim(), [...tests.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name)] as const;
  });

test('the page has at least fifteen promises', () => expect(promises.length).toBeGreaterThanOrEqual(15));

test.each(promises)('a test holds: %s', (_promise, tests) => {
  expect(tests).not.toEqual([]);
  expect(tests.filter((name) => !existsSync(`${root}packages/sendall/test/${name}.test.ts`))).toEqual([]);
});
