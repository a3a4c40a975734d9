/**
 * Checked listings, kept as JSON in the state folder: YAML takes long to load and to parse, and completion must not wait
 * for programs.
 */
import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { readPrivateFile, replacePrivateCache } from '../../files/private-file.js';
import { ensurePrivateFolder } from '../../home.js';
import { VERSION } from '../../protocol/version.js';
import type { GroupEntry, HostEntry, Listing } from './listing.js';

/**
 * Milliseconds after a change in which a file is not remembered. File times are coarse, up to two seconds: a second
 * change could look like none.
 */
const SETTLED = 2500;

/** One host. 0: nothing is stated. */
type HostRow = [name: string, url: string, pin: string | 0, tags: HostEntry['tags'] | 0, file: number, line: number];
type GroupRow = [name: string, expression: string, file: number, line: number];

interface Kept {
  readonly key: string;
  readonly files: readonly string[];
  readonly hosts: readonly HostRow[];
  readonly groups: readonly GroupRow[];
}

/** The key under which a listing is kept: it changes with what it was made from and with our version. */
export const keyFor = (...parts: readonly unknown[]): string => JSON.stringify([VERSION, ...parts]);

/** The listing kept in a file under this key. */
export function recall(path: string, key: string): Listing | undefined {
  try {
    const text = readPrivateFile(path);
    // The key comes first, so that a file for another key is not parsed.
    if (!text?.startsWith(beginning(key))) return undefined;
    const { files, hosts, groups } = JSON.parse(text) as Kept;
    const at = (file: number, line: number) => ({ file: files[file]!, line: line || undefined });
    return {
      hosts: new Map(
        hosts.map(([name, url, pin, tags, file, line]): [string, HostEntry] => [
          name,
          { url, pin: pin || undefined, tags: tags || {}, at: at(file, line) },
        ]),
      ),
      groups: new Map(
        groups.map(([name, expression, file, line]): [string, GroupEntry] => [
          name,
          { expression, at: at(file, line) },
        ]),
      ),
    };
  } catch {
    // A damaged file is as good as none.
    return undefined;
  }
}

/** Keeps a listing made from `sources`, unless these have just changed. Without room or permission nothing is kept. */
export function remember(path: string, key: string, { hosts, groups }: Listing, sources: readonly string[]): void {
  try {
    const now = Date.now();
    if (sources.some((source) => now - statSync(source).ctimeMs < SETTLED)) return;
    const places = new Map<string, number>();
    const placeOf = (file: string) => {
      const place = places.get(file) ?? places.size;
      places.set(file, place);
      return place;
    };
    const hostRows = [...hosts].map(([name, { url, pin, tags, at }]): HostRow => [
      name,
      url,
      pin ?? 0,
      Object.keys(tags).length ? tags : 0,
      placeOf(at.file),
      at.line ?? 0,
    ]);
    const groupRows = [...groups].map(([name, { expression, at }]): GroupRow => [
      name,
      expression,
      placeOf(at.file),
      at.line ?? 0,
    ]);
    const kept: Kept = { key, files: [...places.keys()], hosts: hostRows, groups: groupRows };
    const text = JSON.stringify(kept);
    if (readPrivateFile(path) === text) return;
    ensurePrivateFolder(dirname(path));
    replacePrivateCache(path, text);
  } catch {
    // It is only slower without.
  }
}

const beginning = (key: string) => `{"key":${JSON.stringify(key)},`;
