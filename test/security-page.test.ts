/** docs/security.md names a test for each promise, and each test that it names exists; the Chinese page names the same. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
/** The promises of a page, each with the names of its tests. */
function promisesOf(name: string, heading: string) {
  const page = readFileSync(`${root}docs/${name}`, 'utf8');
  const table = new RegExp(`^\\| ${heading} \\|.*\\n\\|[-|]+\\|\\n((?:\\|.*\\n)+)`, 'm').exec(page)![1]!;
  return table
    .trim()
    .split('\n')
    .map((line) => {
      const [promise = '', , tests = ''] = line.split('|').slice(1, -1);
      return [promise.trim(), [...tests.matchAll(/`([^`]+)`/g)].map(([, named = '']) => named)] as const;
    });
}
const promises = promisesOf('security.md', 'promise');

test('the page has at least fifteen promises', () => expect(promises.length).toBeGreaterThanOrEqual(15));

test.each(promises)('a test holds: %s', (_promise, tests) => {
  expect(tests).not.toEqual([]);
  expect(tests.filter((name) => !existsSync(`${root}packages/sendall/test/${name}.test.ts`))).toEqual([]);
});

test('the Chinese page names the same tests', () =>
  expect(promisesOf('security.zh-CN.md', '承诺').map(([, tests]) => tests)).toEqual(
    promises.map(([, tests]) => tests),
  ));
