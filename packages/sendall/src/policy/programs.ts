/**
 * Whether a program can be changed by others than root and the agent's user: the file, each folder up to /, the links on
 * the way with their folders, and the interpreter that a script names. A checked program is started by the path that this
 * ends at.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
  type BigIntStats,
  type Stats,
} from 'node:fs';
import { printable } from '../text/printable.js';
import { bytesOfWord, type Word } from './patterns.js';
import type { CheckedProgram } from './request.js';

/** Links followed for one path. Source: Linux, MAXSYMLINKS. */
const MAX_LINKS = 40;
/** Scripts whose interpreters are scripts. Source: Linux, exec_binprm. */
const MAX_INTERPRETERS = 4;
/** The first line of a script, at most. Source: Linux, BINPRM_BUF_SIZE. */
const FIRST_LINE = 256;
/** Where a command's PATH looks. */
const PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const SHELL = '/bin/sh';
/** Programs whose interpreters are remembered. */
const MAX_KNOWN = 1000;
const ENV = /^\/(?:usr\/)?bin\/env$/;

/** Something is wrong with a path, in words for an owner. */
class Problem extends Error {}

/** Checks programs for an agent of one user. */
export class Programs {
  readonly #uid: number;
  /** What runs the scripts that were looked into, by path, while the file is the same. */
  readonly #interpreters = new Map<Word, { readonly stamp: string; readonly names: readonly Word[] }>();

  constructor(uid: number) {
    this.#uid = uid;
  }

  check(path: Word): CheckedProgram | { readonly problem: string } {
    try {
      return this.#check(path, 0);
    } catch (error) {
      if (error instanceof Problem) return { problem: error.message };
      throw error;
    }
  }

  #check(path: Word, depth: number): CheckedProgram {
    if (depth > MAX_INTERPRETERS) throw new Problem(`${shown(path)} is an interpreter of too many scripts`);
    const { real, info } = walk(path, this.#uid);
    if (!info.isFile()) throw new Problem(`${shown(path)} is not a program`);
    if (!(info.mode & 0o111n)) throw new Problem(`${shown(path)} may not be executed`);
    for (const next of this.#interpretersOf(real, info)) this.#check(next, depth + 1);
    return { path: bytesOfWord(real), device: Number(info.dev), inode: Number(BigInt.asUintN(53, info.ino)) };
  }

  #interpretersOf(real: Word, info: BigIntStats): readonly Word[] {
    const stamp = `${info.dev} ${info.ino} ${info.size} ${info.mtimeNs} ${info.ctimeNs}`;
    const known = this.#interpreters.get(real);
    if (known?.stamp === stamp) return known.names;
    const head = firstLine(real, info);
    // What env finds depends on other folders, too.
    const names = interpreters(head, this.#uid);
    if (this.#interpreters.size >= MAX_KNOWN) this.#interpreters.clear();
    if (!names.some((name) => ENV.test(name))) this.#interpreters.set(real, { stamp, names });
    return names;
  }
}

/** A path for system calls. */
const at = (path: Word): string | Buffer => (isPlain(path) ? path : bytesOfWord(path));
const isPlain = (path: Word): boolean => /^[ -~]*$/.test(path);
const shown = (path: Word): string => printable(bytesOfWord(path).toString(), 200);

/** Follows a path part by part, as the kernel does, and checks each part. Returns where it ends, without links. */
function walk(path: Word, uid: number): { real: Word; info: BigIntStats } {
  let links = 0;
  let real = '';
  let info: Stats | BigIntStats = stat('/', path);
  safe('/', info, uid, path);
  const left = partsOf(path).toReversed();
  for (let part = left.pop(); part !== undefined; part = left.pop()) {
    if (part === '..') {
      real = real.slice(0, Math.max(0, real.lastIndexOf('/')));
      info = stat(real || '/', path);
      continue;
    }
    if (!info.isDirectory()) throw new Problem(`${shown(path)}: ${shown(real)} is not a folder`);
    const next = `${real}/${part}`;
    // Of the last part all digits count.
    info = left.length ? stat(next, path) : statExactly(next, path);
    safe(next, info, uid, path);
    if (!info.isSymbolicLink()) {
      real = next;
      continue;
    }
    if (++links > MAX_LINKS) throw new Problem(`${shown(path)} leads through more than ${MAX_LINKS} links`);
    const target = reading(path, () => readlinkSync(at(next), 'latin1'));
    if (target.startsWith('/')) {
      real = '';
      info = stat('/', path);
    } else info = stat(real || '/', path);
    left.push(...partsOf(target).toReversed());
  }
  return { real, info: isExact(info) ? info : statExactly(real || '/', path) };
}

const isExact = (info: Stats | BigIntStats): info is BigIntStats => typeof info.ino === 'bigint';

const partsOf = (path: Word): string[] => path.split('/').filter((part) => part !== '' && part !== '.');

function safe(part: Word, info: Stats | BigIntStats, uid: number, path: Word): void {
  const owner = Number(info.uid);
  const mode = Number(info.mode);
  const change = (why: string) =>
    new Problem(`${part === path ? '' : `${shown(path)}: `}${shown(part)} can be changed by others: ${why}`);
  if (owner !== 0 && owner !== uid) throw change(`it belongs to user ${owner}`);
  // The mode of a link says nothing. Where there are access lists, the group's bits are the most that they give.
  if (!info.isSymbolicLink() && mode & 0o022) throw change(`its mode is ${(mode & 0o7777).toString(8)}`);
}

function statExactly(part: Word, path: Word): BigIntStats {
  return reading(path, () => lstatSync(at(part), { bigint: true }));
}

function stat(part: Word, path: Word): Stats {
  return reading(path, () => lstatSync(at(part)));
}

function reading<T>(path: Word, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Problem(code === 'ENOENT' ? `${shown(path)} is not there` : `${shown(path)} cannot be read (${code})`);
  }
}

/** The beginning of a file that must still be the one that was checked. */
function firstLine(real: Word, info: BigIntStats): Word {
  return reading(real, () => {
    const fd = openSync(at(real), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const { dev, ino } = fstatSync(fd, { bigint: true });
      if (dev !== info.dev || ino !== info.ino) throw new Problem(`${shown(real)} was replaced just now`);
      const head = Buffer.alloc(FIRST_LINE);
      return head.toString('latin1', 0, readSync(fd, head, 0, FIRST_LINE, 0));
    } finally {
      closeSync(fd);
    }
  });
}

/** The programs that a file with this beginning is run by. */
function interpreters(head: Word, uid: number): Word[] {
  if (head.startsWith('\x7fELF')) return [];
  // What the kernel does not know, the shell runs.
  if (!head.startsWith('#!')) return [SHELL];
  const line = head.slice(2).split('\n', 1)[0]!;
  const [name = '', ...words] = line.trim().split(/[ \t]+/);
  if (!name.startsWith('/')) throw new Problem(`its interpreter "${shown(name)}" is no absolute path`);
  if (!ENV.test(name)) return [name];
  const [program] = words;
  if (program === undefined || words.length > 1 || program.startsWith('-') || /[/=]/.test(program))
    throw new Problem(`what "${shown(line.trim())}" runs cannot be told: write the interpreter's path behind "#!"`);
  return [name, found(program, uid)];
}

/** Where PATH finds a program, if others can put none before it. */
function found(program: Word, uid: number): Word {
  for (const folder of PATH) {
    if (!lstatSync(folder, { throwIfNoEntry: false })) continue;
    walk(folder, uid);
    const file = `${folder}/${program}`;
    if (lstatSync(at(file), { throwIfNoEntry: false })) return file;
  }
  throw new Problem(`no folder of ${PATH.join(':')} has its interpreter "${shown(program)}"`);
}
