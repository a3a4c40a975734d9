/**
 * The newest head of each host's log that this user has seen, beside the pins. A host whose log has fewer records than
 * that, or others, has cut or rewritten it.
 *
 * The file has a line for each head, appended without a lock: the largest size counts, and behind a line that was accepted
 * by hand only what follows it. Each line begins with a newline, so a torn one damages no other.
 */
import { closeSync, constants, fstatSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { readPrivateFile } from '../files/private-file.js';
import { ensurePrivateFolder, type Home } from '../home.js';
import type { Exit } from '../protocol/messages.js';

/** A head that a host has told. */
export interface KeptHead {
  /** Records of the host's log. */
  readonly size: number;
  /** Their root, base64. */
  readonly root: string;
  /** When it was seen, in milliseconds since the epoch. */
  readonly atMs: number;
}

/** Bytes of the file above which it is shortened, and of how many hosts it has heads then: those seen last. */
const LARGEST = 8 * 1024 * 1024;
const MOST_HOSTS = 50_000;
/** Milliseconds between two lines of the same process. */
const OFTEN = 1000;
const ACCEPTED = ' accepted';
const LINE = /^(\S+) (\d{1,16}) ([A-Za-z0-9+/]{43}=) (\d{1,16})( accepted)?$/;

/** By file. All callers in a process share one instance. */
const instances = new Map<string, KeptHeads>();

/** A key as a word. */
const wordOf = (key: string): string => encodeURI(key);

export class KeptHeads {
  readonly #path: string;
  #heads: Map<string, KeptHead> | undefined;
  /** Newer than what the file has of them. */
  readonly #unwritten = new Set<string>();
  #timer: NodeJS.Timeout | NodeJS.Immediate | undefined;
  #wroteAt = -Infinity;

  private constructor(path: string) {
    this.#path = path;
  }

  /** The heads of `home`: one instance for each process. */
  static of({ config }: Home): KeptHeads {
    const path = join(config, 'heads');
    let heads = instances.get(path);
    if (!heads) {
      if (!instances.size) process.once('exit', () => instances.forEach((each) => each.#write()));
      instances.set(path, (heads = new KeptHeads(path)));
    }
    return heads;
  }

  /** The newest head of the host with this pin; a local agent's key is its address. */
  get(key: string): KeptHead | undefined {
    return this.newest(wordOf(key));
  }

  /** As `get`, of a key as a word. */
  newest(word: string): KeptHead | undefined {
    this.#heads ??= headsIn(this.#path);
    return this.#heads.get(word);
  }

  /** Keeps a head of this key, as a word, if it is newer than the one before. */
  keep(word: string, size: number, root: string): void {
    const before = this.newest(word);
    if (before && before.size >= size) return;
    this.#heads!.set(word, { size, root, atMs: Date.now() });
    this.#unwritten.add(word);
    if (this.#timer !== undefined) return;
    const wait = this.#wroteAt + OFTEN - performance.now();
    // After what the caller is waiting for.
    this.#timer = wait > 0 ? setTimeout(() => this.#write(), wait).unref() : setImmediate(() => this.#write());
  }

  /** Takes a head in place of one that it does not continue: a person has decided so. */
  accept(key: string, size: number, root: string): void {
    const word = wordOf(key);
    this.newest(word);
    this.#heads!.set(word, { size, root, atMs: Date.now() });
    this.#unwritten.delete(word);
    this.#append(this.#line(word, ACCEPTED));
  }

  /**
   * The head that a person has accepted, in another process, since ours was seen: from now on it counts, and what
   * followed it.
   */
  acceptedSince(word: string): KeptHead | undefined {
    const [ours, accepted] = [this.newest(word), acceptedIn(this.#path, word)];
    if (!ours || !accepted || accepted.atMs <= ours.atMs) return undefined;
    this.#heads!.set(word, headsIn(this.#path).get(word)!);
    this.#unwritten.delete(word);
    return accepted;
  }

  #line(word: string, mark = ''): string {
    const { size, root, atMs } = this.#heads!.get(word)!;
    return `\n${word} ${size} ${root} ${atMs}${mark}\n`;
  }

  #write(): void {
    this.#timer = undefined;
    this.#wroteAt = performance.now();
    const lines = [...this.#unwritten].map((word) => this.#line(word));
    this.#unwritten.clear();
    if (!lines.length) return;
    try {
      this.#append(lines.join(''));
    } catch {
      // The next head is kept instead.
    }
  }

  #append(lines: string): void {
    const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    ensurePrivateFolder(join(this.#path, '..'));
    const fd = openSync(this.#path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW | O_NONBLOCK, 0o600);
    try {
      writeSync(fd, lines);
      if (fstatSync(fd).size > LARGEST) this.#shorten();
    } finally {
      closeSync(fd);
    }
  }

  #shorten(): void {
    const heads = [...headsIn(this.#path)].sort(([, a], [, b]) => a.atMs - b.atMs).slice(-MOST_HOSTS);
    const beside = `${this.#path}.${process.pid}`;
    const lines = heads.map(([word, { size, root, atMs }]) => `${word} ${size} ${root} ${atMs}\n`);
    writeFileSync(beside, lines.join(''), { mode: 0o600, flag: 'wx' });
    renameSync(beside, this.#path);
  }
}

/**
 * The newest head of each key.
 * @throws UsageError when the file is not private.
 */
function headsIn(path: string): Map<string, KeptHead> {
  const heads = new Map<string, KeptHead>();
  for (const { word, head, accepted } of linesIn(path))
    if (accepted || head.size > (heads.get(word)?.size ?? -1)) heads.set(word, head);
  return heads;
}

/** The head of a key that a person has accepted last. */
function acceptedIn(path: string, key: string): KeptHead | undefined {
  let last: KeptHead | undefined;
  try {
    for (const { word, head, accepted } of linesIn(path)) if (accepted && word === key) last = head;
  } catch {
    // What is wrong with the file is told by the next dial.
  }
  return last;
}

function* linesIn(path: string): Generator<{ word: string; head: KeptHead; accepted: boolean }, void, undefined> {
  for (const line of textOf(path).split('\n')) {
    const [, word, size, root, atMs, accepted] = LINE.exec(line) ?? [];
    if (word === undefined) continue;
    yield { word, head: { size: Number(size), root: root!, atMs: Number(atMs) }, accepted: accepted !== undefined };
  }
}

/** Where a part of the path is a file there are no heads. What is wrong with the folder is told by the dial. */
function textOf(path: string): string {
  try {
    return readPrivateFile(path) ?? '';
  } catch (error) {
    if (((error as Error).cause as NodeJS.ErrnoException | undefined)?.code === 'ENOTDIR') return '';
    throw error;
  }
}

/** One host's log, as this user has seen it. */
export class HostLog {
  readonly key: string;
  readonly #heads: KeptHeads;
  /** Its key in the file. Each run asks for it. */
  readonly #word: string;
  readonly #name: string;

  /** @throws UsageError when the file of heads is not private. */
  constructor(heads: KeptHeads, key: string, name: string) {
    this.#heads = heads;
    this.key = key;
    this.#word = wordOf(key);
    this.#name = name;
    // Not when a run is about to be sent.
    heads.newest(this.#word);
  }

  /** The newest head seen so far. A head that the host tells from now on has at least as many records. */
  get seen(): KeptHead | undefined {
    return this.#heads.newest(this.#word);
  }

  /**
   * Looks at the head that came with an exit. `seen`: what was seen before the run was sent. Returns a sentence if the
   * log was cut or rewritten, and keeps the old head then.
   */
  judge(exit: Exit, seen: KeptHead | undefined): string | undefined {
    const complaint = this.#compare(exit, seen);
    const accepted = complaint === undefined ? undefined : this.#heads.acceptedSince(this.#word);
    return accepted ? this.#compare(exit, accepted) : complaint;
  }

  #compare({ cause, log }: Exit, seen: KeptHead | undefined): string | undefined {
    const was = (head: KeptHead): string =>
      `the log of ${this.#name} was cut or rewritten: ${head.size} records seen on ${timeOf(head.atMs)}`;
    if (!log) return seen && cause !== 'lost' ? `${was(seen)}, and it tells no head now` : undefined;
    const { size } = log;
    const root = Buffer.from(log.head).toString('base64');
    if (seen && size < seen.size) return `${was(seen)}, ${size} now`;
    for (const head of [seen, this.seen])
      if (head?.size === size && head.root !== root) return `${was(head)}, and now they are others`;
    this.#heads.keep(this.#word, size, root);
    return undefined;
  }
}

const timeOf = (atMs: number): string => `${new Date(atMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
