/** npm run install-global [-- --prefix DIR]: packs the four built packages and puts `sendall` and `wirelab` on the PATH. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const options = process.argv.slice(2);
/** @param {string[]} words */
const npm = (...words) => execFileSync('npm', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

const folder = mkdtempSync(join(tmpdir(), 'sendall-pack-'));
try {
  npm('pack', '--silent', '--workspaces', '--pack-destination', folder);
  const tarballs = readdirSync(folder).map((file) => join(folder, file));
  // All in one command: they need each other, and no registry has them yet.
  npm('install', '--global', '--silent', '--prefer-offline', '--no-audit', ...options, ...tarballs);
  const bin = join(npm('prefix', '--global', ...options).trim(), 'bin');
  console.log(`installed ${join(bin, 'sendall')} and ${join(bin, 'wirelab')}`);
  if (!(process.env.PATH ?? '').split(delimiter).includes(bin))
    console.log(`${bin} is not on the PATH yet: export PATH="${bin}:$PATH"`);
} catch (error) {
  // npm has printed the reason.
  if (/** @type {{ status?: number }} */ (error).status === undefined) throw error;
  console.error('not installed; without permission to write there, choose a folder of your own: -- --prefix ~/.local');
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
