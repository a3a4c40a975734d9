// npm run bench -- [NAME] [options]: runs bench/NAME.js, or every benchmark when no name is given.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../bench/', import.meta.url));
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.js'))
  .map((file) => file.slice(0, -3));
const [name, ...options] = process.argv.slice(2);
if (name !== undefined && !names.includes(name)) {
  console.error(`no benchmark "${name}": there are ${names.join(', ')}`);
  process.exit(2);
}
const build = spawnSync('npm', ['run', '--silent', 'build'], { stdio: ['ignore', 'ignore', 'inherit'] });
if (build.status !== 0) process.exit(1);
for (const each of name === undefined ? names : [name]) {
  const run = spawnSync(process.execPath, ['--expose-gc', `${folder}${each}.js`, ...options], { stdio: 'inherit' });
  if (run.status !== 0) process.exit(run.status ?? 1);
}
