/** Tarballs for tests, packed in a copy of the repository: packing changes files for a moment. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A copy of everything packing needs, in a new temporary folder. */
export function copyOfRepository(): string {
  const copy = mkdtempSync(join(tmpdir(), 'sendall-repository-'));
  const isWanted = (path: string) => !/\/(?:node_modules|test)(?:\/|$)/.test(path.slice(root.length));
  for (const name of ['packages', 'docs', 'examples', 'scripts', 'package.json', 'CHANGELOG.md'])
    cpSync(join(root, name), join(copy, name), { recursive: true, filter: isWanted });
  return copy;
}

/** Packs packages of that copy into `folder`; returns the tarballs' names. */
export function pack(repository: string, folder: string, ...names: string[]): string[] {
  mkdirSync(folder, { recursive: true });
  const workspaces = names.flatMap((name) => ['-w', `packages/${name}`]);
  execFileSync('npm', ['pack', '--silent', '--pack-destination', folder, ...workspaces], {
    cwd: repository,
    stdio: 'ignore',
  });
  return readdirSync(folder).filter((file) => file.endsWith('.tgz'));
}
