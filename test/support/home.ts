/**
 * Before the first test: a home of their own for all tests and for all that they start. What is the user's is not
 * touched and a slow profile is not read. npm alone keeps the user's settings and cache, for some tests install with it.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeFolder } from '../../packages/sendall/test/remove-home.js';

export default function home() {
  const { env } = process;
  env.npm_config_userconfig ??= join(homedir(), '.npmrc');
  env.npm_config_cache ??= join(homedir(), '.npm');
  for (const name of Object.keys(env)) if (name.startsWith('XDG_')) delete env[name];
  const folder = mkdtempSync(join(tmpdir(), 'sendall-tests-'));
  for (const name of ['.bashrc', '.bash_profile']) writeFileSync(join(folder, name), "PS1='# '\n");
  env.HOME = folder;
  env.SENDALL_HOME = join(folder, 'sendall');
  return async () => await removeFolder(folder);
}
