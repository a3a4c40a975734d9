/** Trees of files that are hard to copy, and what they hold, for comparison. */
import { createHash, randomFillSync } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';

export const MiB = 1024 * 1024;

const below = (folder: Buffer, name: Buffer): Buffer => Buffer.concat([folder, Buffer.from('/'), name]);

/** Names that shells, terminals and programs like to get wrong; no name has a slash. */
const oddNames: readonly Buffer[] = [
  ...`two words/line\nfeed/-rf/"quoted"/it's/$HOME/\`id\`/*/?/back\\slash/a;b&c|d/~/#/{a,b}/[x]/ blank /tab\there/名字/é/%s/!`
    .split('/')
    .concat('x'.repeat(255))
    .map((name) => Buffer.from(name)),
  Buffer.from([0xff, 0xfe, 0x80]),
  Buffer.from([0xc3]),
];

export interface TreeOptions {
  /** Small files, of up to 8 KiB each. */
  readonly files: number;
  /** Bytes of the big file; none without it. */
  readonly big?: number;
  /** Names with any bytes. */
  readonly isOdd?: boolean;
  /** Hard links, a sparse file, symbolic links, unusual modes. */
  readonly isSpecial?: boolean;
}

/** A file of random bytes. */
export function writeRandom(path: string, bytes: number): void {
  const file = openSync(path, 'w');
  const chunk = Buffer.allocUnsafe(Math.min(bytes, 4 * MiB));
  for (let at = 0; at < bytes; at += chunk.length)
    writeSync(file, randomFillSync(chunk), 0, Math.min(chunk.length, bytes - at));
  closeSync(file);
}

export function makeTree(folder: string, { files, big, isOdd = false, isSpecial = false }: TreeOptions): void {
  mkdirSync(folder, { recursive: true });
  const content = randomFillSync(Buffer.allocUnsafe(64 * 1024));
  for (let i = 0; i < files; i++) {
    if (i % 100 === 0) mkdirSync(`${folder}/folder ${i / 100}`);
    const from = (i * 7919) % 32_768;
    writeFileSync(`${folder}/folder ${Math.floor(i / 100)}/${i}`, content.subarray(from, from + ((i * 37) % 8192)));
  }
  if (big) writeRandom(`${folder}/big`, big);
  mkdirSync(`${folder}/odd/deep/and empty`, { recursive: true });
  if (isOdd) for (const name of oddNames) writeFileSync(below(Buffer.from(`${folder}/odd`), name), name);
  if (isSpecial) {
    writeFileSync(`${folder}/one`, 'one file, two names');
    linkSync(`${folder}/one`, `${folder}/odd/other`);
    writeFileSync(`${folder}/private`, 'mine', { mode: 0o600 });
    writeFileSync(`${folder}/program`, '#!/bin/sh\n', { mode: 0o755 });
    symlinkSync('one', `${folder}/link`);
    symlinkSync('../nowhere/at all', `${folder}/odd/dangling`);
    const sparse = openSync(`${folder}/sparse`, 'w');
    writeSync(sparse, content, 0, 4096, 2 * MiB);
    ftruncateSync(sparse, 32 * MiB);
    closeSync(sparse);
    utimesSync(`${folder}/one`, 1_000_000_000.5, 1_000_000_000.5);
    // rsync leaves the fractions of a second that a link has at its making, if the seconds are right.
    for (const name of ['link', 'odd/dangling']) lutimesSync(`${folder}/${name}`, 981_173_106.25, 981_173_106.25);
  }
}

function digestOf(path: Buffer): string {
  const hash = createHash('sha256');
  const file = openSync(path, 'r');
  const chunk = Buffer.allocUnsafe(MiB);
  for (let left = fstatSync(file).size; left > 0;) {
    const read = readSync(file, chunk);
    if (read === 0) break;
    hash.update(chunk.subarray(0, read));
    left -= read;
  }
  closeSync(file);
  return hash.digest('hex').slice(0, 16);
}

/**
 * What a tree holds: a line for each entry, with its content. With `isExact` also modes, times, hard links and whether a
 * file has holes, for programs that keep all of them.
 */
export function contentOf(folder: string, { isExact = false } = {}): string[] {
  const lines: string[] = [];
  const links = new Map<bigint, string>();
  const walk = (at: Buffer, shown: string): void => {
    const names = readdirSync(at, { encoding: 'buffer' }).sort((a, b) => a.compare(b));
    for (const name of names) {
      const path = below(at, name);
      const stat = lstatSync(path, { bigint: true });
      const line = [`${shown}${JSON.stringify(name.toString('latin1'))}`];
      if (stat.isDirectory()) line.push('folder');
      else if (stat.isSymbolicLink()) line.push(`-> ${readlinkSync(path, { encoding: 'buffer' }).toString('latin1')}`);
      else line.push(`${stat.size} bytes`, digestOf(path));
      if (isExact) {
        if (!stat.isSymbolicLink()) line.push((stat.mode & 0o7777n).toString(8));
        if (!stat.isDirectory()) line.push(`${stat.mtimeNs}`);
        if (stat.isFile()) {
          if (stat.nlink > 1n) line.push(`as ${links.get(stat.ino) ?? 'none before'}`);
          links.set(stat.ino, line[0]!);
          if (stat.size > MiB && stat.blocks * 512n < stat.size / 2n) line.push('with holes');
        }
      }
      lines.push(line.join(' '));
      if (stat.isDirectory()) walk(path, `${line[0]}/`);
    }
  };
  walk(Buffer.from(folder), '');
  return lines;
}
