/** Trees of files for tests: made, and listed so that two can be compared. */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';

const below = (folder: Buffer, name: Buffer | string) => Buffer.concat([folder, Buffer.from('/'), Buffer.from(name)]);

/** A tree with odd names, empty things, a link, small files and a large one. */
export function makeOddTree(path: string): void {
  const folder = Buffer.from(path);
  mkdirSync(folder, { recursive: true });
  writeFileSync(below(folder, 'plain'), 'plain\n');
  writeFileSync(below(folder, 'empty'), '');
  writeFileSync(below(folder, 'two\nlines \t'), 'odd');
  writeFileSync(below(folder, '-n'), 'a dash');
  writeFileSync(below(folder, Buffer.from([0xff, 0xfe, 0x80])), 'not UTF-8');
  writeFileSync(below(folder, 'n'.repeat(255)), 'long');
  writeFileSync(below(folder, 'large'), Buffer.alloc(1_000_000, 'large'));
  chmodSync(below(folder, 'plain'), 0o640);
  mkdirSync(below(folder, 'empty folder'));
  mkdirSync(below(folder, 'a/b'), { recursive: true });
  for (let i = 0; i < 50; i++) writeFileSync(below(folder, `a/b/${i}`), `${i}\n`.repeat(i * 50));
  symlinkSync('../nowhere', below(folder, 'a/link'));
}

/** What a tree has: kinds, modes, times, targets and digests by path. */
export function listTree(path: string): Record<string, string> {
  const all: Record<string, string> = {};
  const list = (folder: Buffer, prefix: string) => {
    for (const name of readdirSync(folder, { encoding: 'buffer' })) {
      const full = below(folder, name);
      const shown = `${prefix}/${name.toString('latin1')}`;
      const stats = lstatSync(full);
      const mode = (stats.mode & 0o777).toString(8);
      if (stats.isSymbolicLink()) all[shown] = `link ${readlinkSync(full)}`;
      else if (stats.isDirectory()) {
        all[shown] = `folder ${mode}`;
        list(full, shown);
      } else all[shown] = `file ${mode} ${Math.floor(stats.mtimeMs / 1000)} ${digest(readFileSync(full))}`;
    }
  };
  list(Buffer.from(path), '');
  return all;
}

export const digest = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex');
