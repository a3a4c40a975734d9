/**
 * What commands get by birth where the keeper itself needs something else: the limits, the umask and the OOM score of
 * whoever started the agent. posix_spawn has no words for these, so the keeper is for a moment what the command is to be.
 * As long as the same is good for both, nothing is done at a start.
 */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';

export interface Limit {
  readonly soft: bigint;
  readonly hard: bigint;
}

/** getrlimit and setrlimit of this process; `set` says whether it was allowed. */
export interface LimitCalls {
  get(resource: number): Limit;
  set(resource: number, limit: Limit): boolean;
}

/** How whoever started the agent was set up, as far as this process cannot see it itself. */
export interface Starter {
  /** The soft limit of open files; undefined when it is not known. Node raises its own before our code runs. */
  readonly nofile: number | undefined;
  readonly umask: number;
}

// Source: Linux, include/uapi/asm-generic/resource.h.
const RLIMIT_CPU = 0;
const RLIMIT_FSIZE = 1;
const RLIMIT_NOFILE = 7;
const UNLIMITED = 2n ** 64n - 1n;
/** Where the soft limit of files is not known: what a login has, for select() in a command breaks above it. */
const USUAL_FILES = 1024;
/** Descriptors of the keeper itself, and of each run, at most. */
const OWN_FILES = 324;
const FILES_A_RUN = 7;

interface Difference {
  theirs(): void;
  ours(): void;
}

export class Inheritance {
  readonly #always: readonly Difference[];
  readonly #files: Difference | undefined;
  /** Runs with which the keeper stays below a command's own limit of files. */
  readonly #fewRuns: number = Infinity;
  #many = false;

  constructor(limits: LimitCalls, { nofile, umask }: Starter) {
    const always: Difference[] = [];
    const between = (resource: number, theirs: Limit, ours: Limit): Difference => ({
      theirs: () => void limits.set(resource, theirs),
      ours: () => void limits.set(resource, ours),
    });
    // The keeper's spool and journal are longer than a file of theirs may be, and it lives longer.
    for (const resource of [RLIMIT_FSIZE, RLIMIT_CPU]) {
      const theirs = limits.get(resource);
      if (theirs.soft === UNLIMITED) continue;
      const free = { soft: UNLIMITED, hard: UNLIMITED };
      const raised = { ...theirs, soft: theirs.hard };
      if (resource === RLIMIT_FSIZE && limits.set(resource, free)) always.push(between(resource, theirs, free));
      else if (raised.soft > theirs.soft && limits.set(resource, raised))
        always.push(between(resource, theirs, raised));
    }
    // Lowering it for a moment may tell the keeper that it has used up its time.
    if (always.length > 0) process.on('SIGXCPU', () => {});
    // Only a mask for the owner differs: it would spoil the modes of the keeper's own files.
    if (umask & 0o700)
      always.push({ theirs: () => void process.umask(umask), ours: () => void process.umask(umask & 0o077) });
    this.#always = always;

    const ours = limits.get(RLIMIT_NOFILE);
    const wanted = nofile === Infinity ? UNLIMITED : BigInt(nofile ?? USUAL_FILES);
    if (wanted >= ours.soft) return;
    const theirs = { soft: wanted, hard: ours.hard };
    this.#files = between(RLIMIT_NOFILE, theirs, ours);
    this.#fewRuns = (Number(wanted) - OWN_FILES) / FILES_A_RUN;
    this.#many = this.#fewRuns < 1;
    if (!this.#many) this.#files.theirs();
  }

  /** The keeper is what a command is to be already. */
  get isShared(): boolean {
    return this.#always.length === 0 && !this.#many;
  }

  /** So many runs will soon be there: the keeper may need more descriptors than a command may have. */
  expect(runs: number): void {
    const many = runs >= this.#fewRuns || this.#fewRuns < 1;
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

/** The lowest that the kernel still ends when nothing else is left. -1000 would be never. */
const LAST = -900;

/**
 * The keeper's OOM score, lower than its commands': when memory runs out its end would lose all of them. Only with
 * CAP_SYS_RESOURCE. Writing the commands' own score back for a start also takes from them the right to a lower one.
 * Source: proc(5), oom_score_adj; sshd does the same.
 */
export class OomScore {
  readonly #fd: number;
  readonly #theirs: Buffer;
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
