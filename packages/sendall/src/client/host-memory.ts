/**
 * What the last link to each host has left for the first flight of the next one: the epoch of the host's journal, and the
 * host's clock. A file in the state folder keeps it for other processes, a line a link, the newest last.
 *
 * None of it is needed, and nothing of it is believed for long. A wrong epoch or clock is refused by the host, and the
 * command is sent once more; a line that is damaged, a day old, or from before this machine's clock was set counts for
 * nothing; a disk without room costs a round trip.
 */
import { closeSync, constants, fstatSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { readPrivateFile } from '../files/private-file.js';
import { ensurePrivateFolder, type Home } from '../home.js';
import { rememberedOf, type Greeting, type Remembered } from '../link/handshake.js';
import { crc32 } from '../protocol/crc32.js';
import { FIRST_FLIGHT } from '../protocol/messages.js';

/** Milliseconds for which a host is remembered. */
const DAY = 24 * 60 * 60 * 1000;
/** Milliseconds by which a clock may move before its line is written again, or counts for nothing. */
const MOVED = 1000;
/** Bytes of the file above which only the newest lines are kept, and how many hosts these may be. */
const LARGEST = 4 * 1024 * 1024;
const MOST_HOSTS = 10_000;

const LINE =
  /^(?<text>\S+ (?<epoch>[0-9a-f]{32}) (?<clock>-?\d{1,16}) (?<set>-?\d{1,16}) (?<at>-?\d{1,16})) [0-9a-f]{8}$/;

/** By file. All callers in a process share one instance. */
const instances = new Map<string, HostMemory>();

export class HostMemory {
  readonly #path: string;
  /** By key of the host: its line in the file, until it is read. */
  #lines: Map<string, string> | undefined;
  readonly #hosts = new Map<string, Remembered & { readonly notedAt: number }>();
  #unwritten: string[] = [];

  private constructor(path: string) {
    this.#path = path;
  }

  /** The memory of `home`: one instance for each process. */
  static of({ state }: Home): HostMemory {
    const path = join(state, 'remembered-hosts');
    let memory = instances.get(path);
    if (!memory) instances.set(path, (memory = new HostMemory(path)));
    return memory;
  }

  /** What is remembered of the host with this pin; a local agent's key is its address. */
  get(key: string): Remembered | undefined {
    const known = this.#hosts.get(key);
    if (known) return known;
    this.#lines ??= linesOf(this.#path);
    const line = this.#lines.get(keyIn(key));
    this.#lines.delete(keyIn(key));
    const read = line === undefined ? undefined : parse(line);
    if (read) this.#hosts.set(key, read);
    return read;
  }

  /** Remembers a host from its greeting. */
  note(key: string, greeting: Greeting): void {
    if (!greeting.auth.features.includes(FIRST_FLIGHT)) {
      this.#lines?.delete(keyIn(key));
      this.#hosts.delete(key);
      return;
    }
    const before = this.#hosts.get(key) ?? (this.get(key) && this.#hosts.get(key));
    const fresh = rememberedOf(greeting);
    const now = performance.now();
    const isKnown =
      before !== undefined &&
      Buffer.compare(before.epoch, fresh.epoch) === 0 &&
      Math.abs(before.clockAheadMs - fresh.clockAheadMs) < MOVED &&
      now - before.notedAt < DAY / 2;
    this.#hosts.set(key, { ...fresh, epoch: Buffer.from(fresh.epoch), notedAt: isKnown ? before.notedAt : now });
    if (isKnown) return;
    this.#unwritten.push(lineOf(keyIn(key), fresh));
    // After what the caller is waiting for.
    if (this.#unwritten.length === 1) setImmediate(() => this.#write());
  }

  #write(): void {
    const lines = this.#unwritten.splice(0).join('');
    const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    try {
      ensurePrivateFolder(join(this.#path, '..'));
      const fd = openSync(this.#path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW | O_NONBLOCK, 0o600);
      try {
        writeSync(fd, lines);
        if (fstatSync(fd).size > LARGEST) this.#shorten();
      } finally {
        closeSync(fd);
      }
    } catch {
      // A later link costs a round trip more.
    }
  }

  #shorten(): void {
    const newest = [...linesOf(this.#path).values()].slice(-MOST_HOSTS);
    const beside = `${this.#path}.${process.pid}`;
    writeFileSync(beside, newest.map((line) => `${line}\n`).join(''), { mode: 0o600, flag: 'wx' });
    renameSync(beside, this.#path);
  }
}

/** The newest line of each host, oldest first. */
function linesOf(path: string): Map<string, string> {
  const lines = new Map<string, string>();
  let text = '';
  try {
    text = readPrivateFile(path) ?? '';
  } catch {
    // Not a file of ours, or not readable.
  }
  for (const line of text.split('\n')) {
    const key = line.slice(0, line.indexOf(' '));
    lines.delete(key);
    if (key) lines.set(key, line);
  }
  return lines;
}

/** A key as a word. */
const keyIn = (key: string): string => encodeURI(key);

/** This machine's clock that is never set, which all its processes share, in milliseconds. */
function steadyMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1_000_000;
}

/**
 * The line of a host. Beside its epoch and its clock it names two moments of this machine's steady clock: when its wall
 * clock began, which changes when that clock is set, at a new boot and after sleep; and now.
 */
function lineOf(key: string, { epoch, clockAheadMs }: Remembered): string {
  const steady = steadyMs();
  const clock = Math.round(clockAheadMs + performance.now() - steady);
  const set = Math.round(Date.now() - steady);
  const text = `${key} ${Buffer.from(epoch).toString('hex')} ${clock} ${set} ${Math.round(steady)}`;
  return `${text} ${sumOf(text)}\n`;
}

function parse(line: string): (Remembered & { readonly notedAt: number }) | undefined {
  const { text, epoch, clock, set, at } = LINE.exec(line)?.groups ?? {};
  if (text === undefined || line !== `${text} ${sumOf(text)}`) return undefined;
  const steady = steadyMs();
  const age = steady - Number(at);
  if (age < -1 || age > DAY || Math.abs(Date.now() - steady - Number(set)) > MOVED) return undefined;
  const now = performance.now();
  return { epoch: Buffer.from(epoch!, 'hex'), clockAheadMs: Number(clock) + steady - now, notedAt: now - age };
}

const sumOf = (text: string): string => crc32(Buffer.from(text), 0).toString(16).padStart(8, '0');
