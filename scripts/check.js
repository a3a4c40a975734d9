/** npm run check: runs every static check, even after one fails; the exit code reports failures. */
import { spawnSync } from 'node:child_process';

const checks = [
  ['installed packages (npm ci repairs them)', 'npm', ['ls', '--workspaces', '--depth=0']],
  ['build', 'npm', ['run', '--silent', 'build']],
  ['types of tests and scripts', 'npx', ['tsc', '-p', 'tsconfig.check.json']],
  ['linter', 'npx', ['oxlint', '--type-aware', '--deny-warnings']],
  ['formatter', 'npx', ['oxfmt', '--check', '.']],
  ['layers', 'npx', ['depcruise', '--config', '.dependency-cruiser.cjs', 'packages', 'examples']],
  ['API reference', 'npx', ['typedoc', '--emit', 'none']],
  ['unused exports', 'npx', ['knip', '--no-progress']],
  ...['framing', 'socketserver', 'sendall', 'lab'].map((name) => [
    `package ${name}`,
    'npx',
    ['publint', '--strict', `packages/${name}`],
  ]),
];

const failed = [];
for (const [name, command, args] of checks) {
  const run = spawnSync(String(command), /** @type {string[]} */ (args), { encoding: 'utf8' });
  const ok = run.status === 0;
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${String(name)}`);
  if (!ok) {
    failed.push(name);
    console.log(run.stdout + run.stderr);
  }
}
console.log(failed.length ? `check failed: ${failed.join(', ')}` : 'check passed');
process.exit(failed.length ? 1 : 0);
