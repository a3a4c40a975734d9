// npm test [-- [--node 24] [--short] [what Vitest takes]]: finds what the tests need, builds, runs every test, and ends
// with one plain line. --node runs them with another Node.js; --short runs a few files, which go through every package.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, relative } from 'node:path';
import { ensureNeeds } from './needs.js';
import { nodeOf } from './node-of.js';

/** What differs between versions of Node.js passes here: streams, sockets, threads, processes, codecs, terminals. */
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
// A build brings code that is compiled for the Node.js that runs it.
const build = spawnSync('npm', ['run', '--silent', 'build'], { stdio: 'inherit', env });
if (build.status !== 0) {
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
let failed = 1;
try {
  /** @type {{ numPassedTests: number, numFailedTests: number, testResults: { name: string, status: string,
   *   assertionResults: { status: string, fullName: string }[] }[] }} */
  const result = JSON.parse(readFileSync(report, 'utf8'));
  passed = result.numPassedTests;
  const brokenFiles = result.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  failed = result.numFailedTests + brokenFiles;
  // A choice by name or place leaves out most tests, and that is meant.
  if (args.length === 0)
    for (const file of result.testResults)
      for (const test of file.assertionResults.filter(({ status }) => status !== 'passed' && status !== 'failed'))
        console.log(`not run: ${relative('.', file.name)}: ${test.fullName}`);
} catch {
  console.error('the test runner ended without a report');
}
rmSync(folder, { recursive: true, force: true });
for (const line of missing) console.log(`missing: ${line}`);
failed += missing.length;
if (failed === 0 && (run.status !== 0 || passed === 0)) failed = 1;
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
