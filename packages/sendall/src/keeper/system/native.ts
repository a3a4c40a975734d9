/**
 * What the keeper needs of the system and Node lacks. `syscalls.ts` makes the calls; where it cannot be loaded, `plain.ts`
 * stands in.
 */
import type { Starter } from '../../started.js';

export interface Watch {
  /** Stops reporting until `start`. */
  stop(): void;
  start(): void;
  /** Must come before the descriptor is closed. */
  close(): void;
}

/** What a child left behind. */
export interface Status {
  code?: number;
  signal?: number;
  /** Why neither is known. */
  unknown?: string;
  core: boolean;
  userUs?: number;
  systemUs?: number;
  maxRssKb?: number;
}

/** The number of a command's first descriptor behind stdin, stdout and stderr. */
export const FIRST_AFTER_STANDARD = 3;

export interface SpawnPlan {
  /** Program path, NUL-terminated. */
  path: Buffer;
  words: Words;
  /** Folder to start in. */
  cwd: number;
  stdin: number;
  stdout: number;
  stderr: number;
  /** A terminal's path, NUL-terminated: it becomes the controlling terminal and stdin, stdout and stderr. */
  terminal?: Buffer | undefined;
  /** A descriptor of the cgroup of version 2 to be born in, outside of the keeper's own. */
  cgroup?: number | undefined;
  /** What the command gets as descriptors 3, 4 and so on. */
  more?: readonly number[];
}

/** argv and environment as the kernel wants them: arrays of pointers into one block of bytes. */
export interface Words {
  readonly block: Buffer;
  readonly argv: Buffer;
  readonly env: Buffer;
}

/** Everything that a spawn needs, laid out: starting it is one call then. */
export interface Arranged {
  readonly plan: SpawnPlan;
  /** posix_spawn_file_actions_t, where that is used. */
  readonly actions?: Buffer;
}

/** Where posix_spawn finds its path, file actions, words and environment: for another thread of this process. */
export interface SpawnCall {
  readonly path: bigint;
  readonly actions: bigint;
  readonly argv: bigint;
  readonly env: bigint;
}

export interface UserAccount {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly home: string;
  readonly shell: string;
}

/** ICANON and ECHO of a terminal. */
export interface TerminalBits {
  readonly canonical: boolean;
  readonly echo: boolean;
}

export interface RecordSockets {
  readonly receiver: number;
  readonly senders: readonly { readonly fd: number; readonly address: string }[];
  /** The longest write a sender can make. */
  readonly longest: number;
}

export interface Native {
  /** Whether every orphan of a command becomes a child of this process. */
  readonly subreaper: boolean;
  /** [read end, write end], both close-on-exec; `ours` becomes non-blocking. */
  pipe(ours: 'read' | 'write'): [number, number];
  /** As `pipe('read')`, in packet mode: what one write wrote is read at once and alone. */
  packetPipe(): [number, number];
  /**
   * Bytes read, 0 at the end, -1 when it would block.
   * @throws SystemError
   */
  read(fd: number, into: Buffer): number;
  /**
   * Bytes written, -1 when it would block.
   * @throws SystemError (EPIPE is one).
   */
  write(fd: number, bytes: Uint8Array): number;
  close(fd: number): void;
  /** Bytes a pipe or terminal holds right now. */
  available(fd: number): number;
  /** Tries to make a pipe this big. */
  enlarge(fd: number, size: number): void;
  /** Calls back whenever the descriptor is ready, until stopped. */
  watch(fd: number, mode: 'read' | 'write', ready: () => void): Watch;
  /** 0, or the errno's name. `path` is NUL-terminated and relative to `folder`. */
  executable(folder: number, path: Buffer): string | 0;
  words(argv: readonly Uint8Array[], env: readonly Uint8Array[]): Words;
  /** @throws SystemError */
  arrange(plan: SpawnPlan): Arranged;
  /**
   * Starts a process in a session of its own and returns its pid. Uses up what was arranged.
   * @throws SystemError
   */
  spawn(arranged: Arranged): number;
  /**
   * The same as a call for another thread, after which `callDone` is to be called; undefined when it has to be this one:
   * where this process is not what the command is to be.
   */
  callOf(arranged: Arranged): SpawnCall | undefined;
  callDone(): void;
  /** So many runs will soon be there, each with some descriptors of ours. */
  expectRuns(count: number): void;
  /**
   * Commands get what this starter of an agent has, from now on: limits, umask, niceness, OOM score. Returns the names
   * of what is different, because this process may not have it.
   */
  adopt(starter: Starter): string[];
  /** When memory runs out, commands are ended before this process. */
  readonly isLastToGo: boolean;
  /** Whether a plan may name a cgroup. */
  readonly bearsInGroups: boolean;
  /** The hard limit of commands on a resource, by its number. */
  hardLimit(resource: number): bigint;
  /** Gives back what was arranged for a spawn that will not be. */
  discard(arranged: Arranged): void;
  /** Calls back when a child may have ended. Returns how to stop that. */
  onChildEnded(callback: () => void): () => void;
  /** A child that has ended and is not reaped yet; 0 without one. Reaps nothing. */
  endedChild(): number;
  /** Reaps that child if it has ended. */
  reap(pid: number): Status | undefined;
  /** False when there is no such process. */
  kill(pid: number, signal: number): boolean;
  /**
   * Signals the process that has this pid now, if `same` still says that it is the one that is meant: between the look
   * and the signal the number cannot pass to another process.
   */
  signalExactly(pid: number, signal: number, same: () => boolean): boolean;
  /** Orphans of our children become ours, so that they can be found and waited for. */
  becomeSubreaper(): void;
  /**
   * A user of this machine; undefined for an unknown name.
   * @throws SystemError when that cannot be looked up.
   */
  account(name: string): UserAccount | undefined;
  /**
   * Runs `act` with this thread's credentials those of another user: files are opened and children born as theirs.
   * Needs root.
   * @throws SystemError
   */
  as<T>(user: UserAccount, act: () => T): T;
  /**
   * Runs `act` with a new session keyring: what it starts has no keys of this process, nor of other commands.
   * @throws SystemError
   */
  apartFromKeys<T>(act: () => T): T;
  duplicate(fd: number): number;
  /**
   * A file in memory with these bytes, sealed against any change; its position is at its first byte. It closes
   * on exec.
   * @throws SystemError
   */
  sealed(bytes: Uint8Array): number;
  /** A new pseudo-terminal: our end, non-blocking, and the path of the other. */
  openTerminal(): { master: number; path: string };
  setTerminalSize(fd: number, cols: number, rows: number): void;
  /** Whether it hands over whole lines, and whether it shows what is typed; undefined when that cannot be asked. */
  terminalBits(fd: number): TerminalBits | undefined;
  /**
   * Two datagram sockets connected to a third, told apart by their addresses. `path` names the third while they
   * connect: no other process can reach it before (the folder is private) or after.
   */
  recordSockets(path: string): RecordSockets;
  /** One datagram and its sender's address; undefined when no datagram waits. */
  receive(fd: number, into: Buffer): { length: number; from: string } | undefined;
  /** Lets the disk begin with a file's written bytes, without waiting. Undefined where there is no such call. */
  readonly startWriting: ((fd: number) => void) | undefined;
  /**
   * An exclusive lock for as long as the descriptor is open. False when another process has it.
   * @throws SystemError where there are no locks.
   */
  lock(fd: number): boolean;
  /** Removes what it left in the file system. */
  dispose(): void;
}
