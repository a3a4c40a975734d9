/** What a host is, as the shell script of `bootstrap.ts` tells, and whether this machine's programs fit there. */
import { SendallError } from '../../errors.js';
import type { Installation } from './layout.js';

/** The oldest Node.js that sendall runs on; see "engines" in its package. */
export const OLDEST_NODE = '20.19.0';

export interface Platform {
  /** As Node names them: linux, x64, glibc. */
  readonly os: string;
  readonly arch: string;
  readonly libc: string;
}

/** A host before anything was done there. */
export interface Facts {
  readonly platform: Platform;
  readonly user: string;
  /** The installation's folder, there or not. */
  readonly root: string;
  /** Programs of a Node.js that is new enough, the best first. */
  readonly nodes: readonly string[];
  /** The newest of those that are too old. */
  readonly oldNode: string | undefined;
  /** Commands that are not there. */
  readonly lacks: readonly string[];
  /** What was copied before: versions/… and nodes/… */
  readonly has: ReadonlySet<string>;
  readonly installation: Installation | undefined;
  /** Free bytes, and the folder whose disk it is. */
  readonly free: { readonly bytes: number; readonly folder: string } | undefined;
}

/** The names that `uname` has, as Node has them. */
const OS: Readonly<Record<string, string>> = { Linux: 'linux', Darwin: 'darwin', FreeBSD: 'freebsd' };
const ARCH: Readonly<Record<string, string>> = {
  x86_64: 'x64',
  amd64: 'x64',
  aarch64: 'arm64',
  arm64: 'arm64',
  armv7l: 'arm',
  i686: 'ia32',
};

/** This machine. */
export function ownPlatform(): Platform {
  const { platform: os, arch } = process;
  if (os !== 'linux') return { os, arch, libc: '' };
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return { os, arch, libc: header.glibcVersionRuntime === undefined ? 'musl' : 'glibc' };
}

export const isSame = (a: Platform, b: Platform): boolean => a.os === b.os && a.arch === b.arch && a.libc === b.libc;

export const platformName = ({ os, arch, libc }: Platform): string => [os, arch, libc].filter(Boolean).join(' ');

/** Reads the script's lines. @throws SendallError when they do not say what is needed. */
export function readFacts(lines: readonly string[]): Facts {
  const all = (word: string) =>
    lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1));
  const one = (word: string): string => {
    const [value] = all(word);
    if (value === undefined) throw new SendallError('INSTALL', `the machine does not say what its ${word} is`);
    return value;
  };
  const [os = '', arch = ''] = one('system').split(' ');
  const nodes = all('node').map((line) => ({
    version: line.split(' ', 1)[0]!,
    path: line.slice(line.indexOf(' ') + 1),
  }));
  const isNew = ({ version }: { version: string }) => compare(version, OLDEST_NODE) >= 0;
  const [kilobytes, ...folder] = (all('free')[0] ?? '').split(' ');
  return {
    platform: { os: OS[os] ?? os.toLowerCase(), arch: ARCH[arch] ?? arch, libc: os === 'Linux' ? one('libc') : '' },
    user: one('user'),
    root: one('root'),
    nodes: nodes.filter(isNew).map(({ path }) => path),
    oldNode: nodes
      .map(({ version }) => version)
      .sort(compare)
      .at(-1),
    lacks: all('lacks'),
    has: new Set(all('has')),
    installation: recordOf(all('record')[0]),
    free: /^\d+$/.test(kilobytes ?? '') ? { bytes: Number(kilobytes) * 1024, folder: folder.join(' ') } : undefined,
  };
}

/** A record that a crash cut off counts as begun: everything is done again. */
function recordOf(text: string | undefined): Installation | undefined {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Installation;
  } catch {
    return undefined;
  }
}

/** Compares versions by their numbers. */
function compare(a: string, b: string): number {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  for (let i = 0; i < 3; i++) if (left![i] !== right![i]) return (left![i] ?? 0) - (right![i] ?? 0);
  return 0;
}
