/** What an installation copies: the packages that this program consists of, and its Node.js program. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { createGzip } from 'node:zlib';
import { packTar, type TarSource } from 'modern-tar/fs';
import { ownFolder, ownVersion } from '../version.js';

/** What a program reads at run time: no types, source maps and pages. */
const NEEDED = /\.(?:c?js|mjs|json|node|wasm|1)$|(?:^|\/)(?:licen[cs]e|notice)[^/]*$/i;
/** What our own packages have besides in a checkout. */
const OWN_PARTS = /^(?:(?:bin|dist|man)\/|package\.json$|LICENSE$)/;
/** 1 makes a Node.js program half as long as it is; 6 would gain a tenth of that and take three times as long. */
const GZIP_LEVEL = 1;

/** An archive of one folder's content. */
export interface Payload {
  /** Names the content. */
  readonly id: string;
  /** Bytes when unpacked. */
  readonly size: number;
  /** A gzipped tar. */
  readonly archive: () => Promise<Buffer>;
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
}

interface File {
  readonly target: string;
  readonly content: Buffer;
  readonly mode: number;
}

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
}

/** The folder of a package as Node finds it from `from`; undefined for an optional one that was not installed. */
function find(name: string, from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const found = join(folder, 'node_modules', name);
    if (existsSync(join(found, 'package.json'))) return realpathSync(found);
    if (folder === dirname(folder)) return undefined;
  }
}

/**
 * The packages, by their folder in the archive. One that is there in two versions lies with the one that needs it.
 * `native`: also those that are for this platform only.
 */
function packages(native: boolean): ReadonlyMap<string, string> {
  const placed = new Map<string, string>();
  const place = (name: string, folder: string, parent: string): void => {
    const flat = `node_modules/${name}`;
    if (placed.get(flat) === folder) return;
    const target = placed.has(flat) ? `${parent}/node_modules/${name}` : flat;
    placed.set(target, folder);
    const { dependencies, optionalDependencies } = manifestOf(folder);
    for (const dependency of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const found = find(dependency, folder);
      if (found === undefined) continue;
      const { os, cpu } = manifestOf(found);
      if (native || !(os || cpu)) place(dependency, found, target);
    }
  };
  place('sendall', realpathSync(ownFolder()), '');
  return placed;
}

function filesOf(target: string, folder: string): File[] {
  const isOurs = /^node_modules\/(?:@sendall\/|sendall$)/.test(target);
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => {
      const own = relative(folder, path).replaceAll(sep, '/');
      return NEEDED.test(own) && !/(?:^|\/)node_modules\//.test(own) && (!isOurs || OWN_PARTS.test(own));
    })
    .map((path) => ({
      target: `${target}/${relative(folder, path).replaceAll(sep, '/')}`,
      content: readFileSync(path),
      mode: statSync(path).mode & 0o111 ? 0o755 : 0o644,
    }));
}

function payload(prefix: string, files: readonly File[]): Payload {
  const hash = createHash('sha256');
  for (const { target, content, mode } of files) hash.update(`${target}\0${mode}\0${content.length}\0`).update(content);
  let archive: Promise<Buffer> | undefined;
  return {
    id: `${prefix}-${hash.digest('hex').slice(0, 12)}`,
    size: files.reduce((sum, { content }) => sum + content.length, 0),
    archive: async () => await (archive ??= pack(files)),
  };
}

/** Hosts in a row get the same bytes. */
async function pack(files: readonly File[]): Promise<Buffer> {
  const sources = files.map(({ target, content, mode }): TarSource => ({
    type: 'content',
    target,
    content,
    mode,
    mtime: new Date(0),
  }));
  return await buffer(packTar(sources).pipe(createGzip({ level: GZIP_LEVEL })));
}

/** The packages of this program. `native`: with the binaries for this platform. */
export function ownPackages(native: boolean): Payload {
  const files = [...packages(native)].flatMap(([target, folder]) => filesOf(target, folder));
  return payload(
    ownVersion(),
    files.sort((a, b) => (a.target < b.target ? -1 : 1)),
  );
}

/** This process's Node.js program, as bin/node. */
export function ownNode(): Payload {
  const content = readFileSync(realpathSync(process.execPath));
  return payload(process.version, [{ target: 'bin/node', content, mode: 0o755 }]);
}
