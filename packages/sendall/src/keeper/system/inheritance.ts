/**
 * What commands get by birth: the limits, the umask, the niceness and the OOM score of the process that started the
 * agent. posix_spawn has no words for these, so where the keeper itself needs something else it is for a moment what
 * the command is to be. As long as the same is good for both, nothing is done at a start.
 */
import { closeSync, openSync, readdirSync, readSync, writeSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';
import { RESOURCES, RLIMIT_NOFILE, type Starter } from '../../started.js';
import { mayRaiseLimits } from './privilege.js';

export interface Limit {
  readonly soft: bigint;
  readonly hard: bigint;
}

/** getrlimit and setrlimit of this process; `set` says whether it was allowed. */
export interface LimitCalls {
  get(resource: number): Limit;
  set(resource: number, limit: Limit): boolean;
}

// Source: Linux, include/uapi/asm-generic/resource.h.
export const RLIMIT_CPU = 0;
const RLIMIT_FSIZE = 1;
const RLIMIT_DATA = 2;
const RLIMIT_AS = 9;
export const UNLIMITED = 2n ** 64n - 1n;
const FREE: Limit = { soft: UNLIMITED, hard: UNLIMITED };
/** Descriptors of the keeper itself, and of each run, at most. */
const OWN_FILES = 324;
const FILES_A_RUN = 7;

interface Difference {
  theirs(): void;
  ours(): void;
}

export class Inheritance {
  readonly #limits: LimitCalls;
  readonly #mayRaise = mayRaiseLimits();
  /** The keeper's own limit of open files. */
  readonly #ownFiles: Limit;
  #always: Difference[] = [];
  #files: Difference | undefined;
  /** Hard limits of commands that may differ from the keeper's own, by resource. */
  readonly #hard = new Map<number, bigint>();
  /** Runs with which the keeper stays below a command's own limit of files. */
  #fewRuns = Infinity;
  #runs = 0;
  #many = false;

  constructor(limits: LimitCalls, starter: Starter) {
    this.#limits = limits;
    this.#ownFiles = limits.get(RLIMIT_NOFILE);
    this.adopt(starter);
  }

  /**
   * Commands get what this starter has, from now on. A keeper that lives longer than its first agent cannot have all of
   * it without privileges: returns the names of what is different.
   */
  adopt({ limits, umask, nice }: Starter): string[] {
    this.#always = [];
    const different: string[] = limits.flatMap((limit, resource) =>
      this.#take(resource, readLimit(limit)) ? [] : [RESOURCES[resource]!],
    );
    // Lowering it for a moment may tell the keeper that it has used up its time.
    if (this.#always.length > 0 && process.listenerCount('SIGXCPU') === 0) process.on('SIGXCPU', () => {});
    // Only a mask for the owner differs: it would spoil the modes of the keeper's own files.
    process.umask(umask & 0o077);
    if (umask & 0o700)
      this.#always.push({ theirs: () => void process.umask(umask), ours: () => void process.umask(umask & 0o077) });
    if (!renice(nice)) different.push('niceness');
    return different;
  }

  /** True when commands get this limit as it is. */
  #take(resource: number, wanted: Limit): boolean {
    switch (resource) {
      case RLIMIT_NOFILE:
        return this.#takeFiles(wanted);
      case RLIMIT_CPU:
      case RLIMIT_FSIZE:
        return this.#takeApart(resource, wanted);
      case RLIMIT_DATA:
      case RLIMIT_AS:
        // Less memory than it has already would end the keeper.
        return wanted.soft < this.#limits.get(resource).soft ? false : this.#share(resource, wanted);
      default:
        return this.#share(resource, wanted);
    }
  }

  /** What is good for commands is good for the keeper. */
  #share(resource: number, wanted: Limit): boolean {
    const own = this.#limits.get(resource);
    if (isSame(own, wanted) || this.#limits.set(resource, wanted)) return true;
    const hard = least(wanted.hard, own.hard);
    this.#limits.set(resource, { soft: least(wanted.soft, hard), hard });
    return false;
  }

  /** The keeper's spool and journal are longer than a file of theirs may be, and it lives longer. */
  #takeApart(resource: number, wanted: Limit): boolean {
    const limits = this.#limits;
    let own = limits.get(resource);
    if (own.soft !== UNLIMITED && !(this.#mayRaise && limits.set(resource, FREE)))
      limits.set(resource, { soft: own.hard, hard: own.hard });
    own = limits.get(resource);
    // A keeper whose hard limit of time were lowered for a moment could be killed in it.
    const hard = resource === RLIMIT_FSIZE && this.#mayRaise ? wanted.hard : own.hard;
    const theirs = { soft: least(wanted.soft, hard), hard };
    this.#hard.set(resource, hard);
    if (!isSame(theirs, own)) this.#always.push(this.#between(resource, theirs, own));
    return isSame(theirs, wanted);
  }

  /** With few runs the keeper has the limit of its commands; with many it needs more itself. */
  #takeFiles(wanted: Limit): boolean {
    this.#files?.ours();
    this.#files = undefined;
    this.#fewRuns = Infinity;
    this.#many = false;
    const own = this.#ownFiles;
    const hard = this.#mayRaise ? wanted.hard : own.hard;
    const theirs = { soft: least(wanted.soft, hard), hard };
    this.#hard.set(RLIMIT_NOFILE, hard);
    if (!isSame(theirs, own)) {
      this.#files = this.#between(RLIMIT_NOFILE, theirs, own);
      this.#fewRuns = (Number(theirs.soft) - OWN_FILES) / FILES_A_RUN;
      this.#many = this.#areMany(this.#runs);
      if (!this.#many) this.#files.theirs();
    }
    return isSame(theirs, wanted);
  }

  #between(resource: number, theirs: Limit, ours: Limit): Difference {
    return {
      theirs: () => void this.#limits.set(resource, theirs),
      ours: () => void this.#limits.set(resource, ours),
    };
  }

  #areMany(runs: number): boolean {
    return runs >= this.#fewRuns || this.#fewRuns < 1;
  }

  /** The hard limit that commands get. */
  hardLimit(resource: number): bigint {
    return this.#hard.get(resource) ?? this.#limits.get(resource).hard;
  }

  /** The keeper is what a command is to be already. */
  get isShared(): boolean {
    return this.#always.length === 0 && !this.#many;
  }

  /** So many runs will soon be there: the keeper may need more descriptors than a command may have. */
  expect(runs: number): void {
    this.#runs = runs;
    const many = this.#areMany(runs);
    if (many === this.#many || !this.#files) return;
    this.#many = many;
    if (many) this.#files.ours();
    else this.#files.theirs();
  }

  /** Runs `start` while this process is what the command is to be. */
  lend<T>(start: () => T): T {
    if (this.isShared) return start();
    const differences = this.#many ? [...this.#always, this.#files!] : this.#always;
    for (const each of differences) each.theirs();
    try {
      return start();
    } finally {
      for (const each of differences) each.ours();
    }
  }
}

const isSame = (a: Limit, b: Limit): boolean => a.soft === b.soft && a.hard === b.hard;
const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);

export function readLimit([soft, hard]: readonly [string, string]): Limit {
  const read = (text: string): bigint => (text === 'unlimited' ? UNLIMITED : BigInt(text));
  return { soft: read(soft), hard: read(hard) };
}

/** Gives all threads of this process that niceness. False where a lower one is not allowed. */
export function renice(nice: number): boolean {
  if (getPriority() === nice) return true;
  for (const tid of readdirSync('/proc/self/task'))
    try {
      setPriority(Number(tid), nice);
    } catch {
      // Not allowed, or the thread has ended meanwhile.
    }
  return getPriority() === nice;
}

/** The lowest that the kernel still ends when nothing else is left. -1000 would be never. */
const LAST = -900;

/**
 * The keeper's OOM score, lower than its commands': when memory runs out its end would lose all of them. Only with
 * CAP_SYS_RESOURCE. Writing the commands' own score back for a start also takes from them the right to a lower one.
 * Source: proc(5), oom_score_adj; sshd does the same.
 */
export class OomScore {
  readonly #fd: number;
  #theirs: Buffer;
  readonly #ours = Buffer.from(String(LAST));
  #lent = 0;

  private constructor(fd: number, theirs: Buffer) {
    this.#fd = fd;
    this.#theirs = theirs;
    this.#set(this.#ours);
  }

  /** Undefined where it may not be lowered, or is as low already. */
  static lower(): OomScore | undefined {
    let fd = -1;
    try {
      fd = openSync('/proc/self/oom_score_adj', 'r+');
      const text = Buffer.alloc(16);
      const theirs = text.subarray(0, readSync(fd, text));
      if (Number(theirs.toString()) > LAST) return new OomScore(fd, theirs);
    } catch {
      // Not root.
    }
    if (fd >= 0) closeSync(fd);
    return undefined;
  }

  /** Commands have this score from now on. */
  adopt(score: number): void {
    this.#theirs = Buffer.from(String(score));
  }

  #set(score: Buffer): void {
    writeSync(this.#fd, score, 0, score.length, 0);
  }

  /** Commands are about to start: has their score until all that was lent is given back. */
  lend(): void {
    if (this.#lent++ === 0) this.#set(this.#theirs);
  }

  giveBack(): void {
    if (--this.#lent === 0) this.#set(this.#ours);
  }
}

/** Where the keeper has the score of its commands: gives it another one. False where a lower one is not allowed. */
export function adoptOomScore(score: number): boolean {
  try {
    const fd = openSync('/proc/self/oom_score_adj', 'r+');
    try {
      const text = Buffer.alloc(16);
      if (Number(text.toString('latin1', 0, readSync(fd, text))) !== score) writeSync(fd, String(score), 0);
      return true;
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}
