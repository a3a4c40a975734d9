/**
 * Fetches another Node.js to run the tests with: the registry's package of that version, kept in the user's cache
 * folder.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * The folder that holds `node` of this version; fetches it if needed.
 * @param {string} version such as 24 or 26.1.0
 */
export function nodeOf(version) {
  if (!/^\d+(\.\d+){0,2}$/.test(version))
    throw new Error(`--node ${version}: a version such as 24 or 26.1.0 is needed`);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const folder = join(cache, 'sendall-tests', `node-${version}`);
  const name = `node-${process.platform}-${process.arch}`;
  const bin = join(folder, 'node_modules', name, 'bin');
  if (!existsSync(join(bin, 'node'))) {
    mkdirSync(folder, { recursive: true });
    // Install scripts off: the package is the binary itself.
    execFileSync(
      'npm',
      ['install', '--silent', '--no-save', '--ignore-scripts', '--prefix', folder, `${name}@${version}`],
      { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] },
    );
  }
  return bin;
}
