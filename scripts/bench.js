/** npm run bench -- [NAME] [options]: runs bench/src/NAME.ts, or every benchmark when no name is given. */
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../bench/', import.meta.url));
/** Benchmarks with peers from npm, listed in bench/package.json. */
const WITH_PEERS = new Set(['exec', 'framing']);

const names = readdirSync(`${folder}src`)
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  .map((file) => file.slice(0, -3));
const [name, ...options] = process.argv.slice(2);
if (name !== undefined && !names.includes(name)) {
  console.error(`no benchmark "${name}": there are ${names.join(', ')}`);
  process.exit(2);
}
const chosen = name === undefined ? names : [name];

/** Runs npm, and exits with 1 when it fails. @param {string[]} words @param {string} cwd */
function npm(words, cwd) {
  const run = spawnSync('npm', words, { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
  if (run.status !== 0) process.exit(1);
}

/** @param {string} file */
const age = (file) => statSync(folder + file, { throwIfNoEntry: false })?.mtimeMs ?? 0;

if (chosen.some((each) => WITH_PEERS.has(each)) && age('node_modules/.package-lock.json') < age('package-lock.json')) {
  console.error('installing peers for the benchmarks into bench/node_modules');
  npm(['ci', '--silent'], folder);
}
npm(['run', '--silent', 'build'], fileURLToPath(new URL('..', import.meta.url)));
for (const each of chosen) {
  const run = spawnSync(process.execPath, ['--expose-gc', `${folder}dist/${each}.js`, ...options], {
    stdio: 'inherit',
  });
  if (run.status !== 0) process.exit(run.status ?? 1);
}
