/** npm run soak -- NAME [options]: runs soak/src/NAME.ts, a search for faults that takes too long for a test. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../soak/', import.meta.url));
const names = readdirSync(`${folder}src`)
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.slice(0, -3));
const [name, ...options] = process.argv.slice(2);
if (name === undefined || !names.includes(name)) {
  console.error(`${name === undefined ? 'which one?' : `no soak run "${name}":`} there are ${names.join(', ')}`);
  process.exit(2);
}
const build = spawnSync('npm', ['run', '--silent', 'build'], { stdio: ['ignore', 'ignore', 'inherit'] });
if (build.status !== 0) process.exit(1);
const run = spawnSync(process.execPath, ['--expose-gc', `${folder}dist/${name}.js`, ...options], { stdio: 'inherit' });
process.exit(run.status ?? 1);
