/** Hosts of an ssh configuration: each name without wildcards after `Host`, at its HostName. Source: ssh_config(5). */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { mistake, type Place } from '../text/tree.js';
import { matches } from '../sets/wildcard.js';
import type { Draft } from './draft.js';

/** As in OpenSSH (READCONF_MAX_DEPTH). */
const MAX_INCLUDES = 16;
/** Most bytes of one included file. */
const MAX_INCLUDED = 1024 * 1024;

/** Lines that hold for some names. */
interface Block {
  readonly holdsFor: (name: string) => boolean;
  readonly hostName: string;
}

interface Config {
  readonly names: Map<string, Place>;
  readonly blocks: Block[];
}

/** Whether a text looks like an ssh configuration. */
export function isSshConfig(text: string): boolean {
  return /^\s*Host(?:\s*=\s*|\s+)\S/im.test(text) && !/^\s*\[|^\s*(?:hosts|groups)\s*:/im.test(text);
}

/**
 * Adds the hosts of a configuration and of the files it includes; `folder` is where relative names of those begin.
 * @throws UsageError with file and line.
 */
export function readSshConfig(text: string, file: string, folder: string, draft: Draft): void {
  const config: Config = { names: new Map(), blocks: [] };
  read(text, { file, folder, depth: 0 }, () => true, config);
  for (const [name, at] of config.names) {
    // As in ssh: the first value that holds wins.
    const hostName = config.blocks.find(({ holdsFor }) => holdsFor(name))?.hostName ?? '%h';
    const address = hostName.replace(/%([%h])/g, (_, token) => (token === '%' ? '%' : name));
    draft.host(name, at, address);
  }
}

interface Source {
  readonly file: string;
  readonly folder: string;
  readonly depth: number;
}

function read(text: string, source: Source, outer: (name: string) => boolean, config: Config): void {
  let holdsFor = outer;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const at = { file: source.file, line: index + 1 };
    const [, keyword = '', rest = ''] = /^\s*(\w+)(?:\s*=\s*|\s+)(.*)$/.exec(line) ?? [];
    const words = wordsOf(rest);
    switch (keyword.toLowerCase()) {
      case 'host':
        holdsFor = (name) => outer(name) && fits(words, name);
        for (const word of words) if (!/[*?!]/.test(word) && outer(word)) addName(config, word, at);
        break;
      case 'match':
        // Other conditions depend on the moment of a connection.
        holdsFor = words.length === 1 && words[0]!.toLowerCase() === 'all' ? outer : () => false;
        break;
      case 'hostname':
        if (words[0] !== undefined) config.blocks.push({ holdsFor, hostName: words[0] });
        break;
      case 'include':
        for (const word of words) include(word, at, source, holdsFor, config);
    }
  }
}

function addName({ names }: Config, name: string, at: Place): void {
  if (!names.has(name)) names.set(name, at);
}

/** At least one pattern fits, and none after "!". */
function fits(patterns: readonly string[], name: string): boolean {
  const fitting = patterns.filter((pattern) => matches(pattern.replace(/^!/, ''), name));
  return fitting.length > 0 && fitting.every((pattern) => !pattern.startsWith('!'));
}

function include(word: string, at: Place, source: Source, holdsFor: (name: string) => boolean, config: Config): void {
  if (source.depth >= MAX_INCLUDES) throw mistake(at, `files include each other more than ${MAX_INCLUDES} levels deep`);
  const path = word.startsWith('~/') ? join(homedir(), word.slice(2)) : word;
  for (const file of filesFor(isAbsolute(path) ? path : resolve(source.folder, path))) {
    const info = statSync(file, { throwIfNoEntry: false });
    if (!info?.isFile()) continue;
    if (info.size > MAX_INCLUDED) throw mistake(at, `${file} has more than ${MAX_INCLUDED} bytes`);
    read(readFileSync(file, 'utf8'), { ...source, file, depth: source.depth + 1 }, holdsFor, config);
  }
}

/** The files for a path with wildcards in its last part; ssh ignores paths without a file. */
function filesFor(path: string): string[] {
  if (!/[*?]/.test(path)) return [path];
  const folder = dirname(path);
  try {
    const names = readdirSync(folder).filter((name) => !name.startsWith('.'));
    return names
      .map((name) => join(folder, name))
      .filter((file) => matches(path, file))
      .sort();
  } catch {
    return [];
  }
}

/** Words, some in double quotes, up to a comment. */
function wordsOf(text: string): string[] {
  const words: string[] = [];
  for (const [word] of text.matchAll(/"[^"]*"|\S+/g)) {
    if (word.startsWith('#')) break;
    words.push(word.replace(/^"(.*)"$/, '$1'));
  }
  return words;
}
