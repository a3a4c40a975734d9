import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { failuresOf, type Report } from '../scripts/failures.js';

const vitest = fileURLToPath(new URL('../node_modules/.bin/vitest', import.meta.url));

test('each failed test and each broken file is one line with its reason, without the stack', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-failures-'));
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  write('some.test.js', "test('holds', () => {});\ntest('adds up', () => expect(1 + 1, 'the\\nsum').toBe(3));\n");
  write('broken.test.js', "throw new Error('not even read');\n");
  const report = join(folder, 'report.json');
  spawnSync(vitest, ['run', '--root', folder, '--globals', '--reporter=json', `--outputFile=${report}`], {
    stdio: 'ignore',
  });
  const lines = failuresOf(JSON.parse(readFileSync(report, 'utf8')) as Report);
  rmSync(folder, { recursive: true });
  const at = (name: string) => relative('.', join(folder, name));
  expect(lines.toSorted()).toEqual(
    [
      `${at('broken.test.js')}: not even read`,
      `${at('some.test.js')}: adds up: AssertionError: the sum: expected 2 to be 3 // Object.is equality`,
    ].toSorted(),
  );
});
