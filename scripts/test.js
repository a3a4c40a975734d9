/**
 * npm test [-- [--node 24] [--short] [Vitest arguments]]: finds what the tests need, builds, runs every test, and ends
 * with one plain line. --node runs them with another Node.js; --short runs a few files that cover every package.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, relative } from 'node:path';
import { failuresOf } from './failures.js';
import { ensureNeeds } from './needs.js';
import { nodeOf } from './node-of.js';

/**
 * Covers everything that differs between versions of Node.js: streams, sockets, threads, processes, codecs, terminals.
 */
const short = [
  'packages/framing/test/framed.test.ts',
  'packages/framing/test/adaptors.test.ts',
  'packages/socketserver/test/contract.test.ts',
  'packages/socketserver/test/timeouts.test.ts',
  'packages/sendall/test/protocol/codec.test.ts',
  'packages/sendall/test/keeper/start.test.ts',
  'packages/sendall/test/keeper/terminal.test.ts',
  'packages/sendall/test/api/run.test.ts',
  'packages/lab/test/encoding.test.ts',
  'packages/lab/test/inspect.test.ts',
];

const args = process.argv.slice(2);
const env = { ...process.env };
const shortAt = args.indexOf('--short');
if (shortAt >= 0) args.splice(shortAt, 1, ...short);
const at = args.indexOf('--node');
if (at >= 0) {
  const [, version = ''] = args.splice(at, 2);
  try {
    env.PATH = nodeOf(version) + delimiter + env.PATH;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  }
}
const missing = ensureNeeds();
const build = spawnSync('npm', ['run', '--silent', 'build'], { stdio: 'inherit', env });
if (build.status !== 0) {
  console.log('failed: the build');
  console.log('0 passed, 1 failed');
  process.exit(1);
}

const folder = mkdtempSync(join(tmpdir(), 'sendall-test-'));
const report = join(folder, 'report.json');
const run = spawnSync(
  'npx',
  ['vitest', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...args],
  { stdio: 'inherit', env },
);
let passed = 0;
/** @type {string[]} */
let failures = [];
try {
  /** @type {import('./failures.js').Report} */
  const result = JSON.parse(readFileSync(report, 'utf8'));
  passed = result.numPassedTests;
  failures = failuresOf(result);
  // A selection by name or place skips most tests on purpose.
  if (args.length === 0)
    for (const file of result.testResults)
      for (const test of file.assertionResults.filter(({ status }) => status !== 'passed' && status !== 'failed'))
        console.log(`not run: ${relative('.', file.name)}: ${test.fullName}`);
  if (failures.length === 0 && run.status !== 0) failures.push('an error outside the tests, shown above');
  else if (failures.length === 0 && passed === 0) failures.push('no test was run');
} catch {
  failures.push('the test runner ended without a report');
}
rmSync(folder, { recursive: true, force: true });
failures.push(...missing.map((line) => `missing: ${line}`));
// People read the end of long output, so repeat names and messages there.
for (const line of failures) console.log(`failed: ${line}`);
console.log(`${passed} passed, ${failures.length} failed`);
process.exit(failures.length === 0 ? 0 : 1);
