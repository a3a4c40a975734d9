/**
 * Allows one process of a kind for each state folder: agent and keeper each hold a lock file there, renew it, and watch
 * over their socket file, which people and cleanup jobs may remove.
 */
import { lstatSync } from 'node:fs';
import { LockFile, lockFile, type Owner } from './lock-file.js';

/** Errors of a disk without room for another name. */
const NO_ROOM = ['ENOSPC', 'EDQUOT'];
/** Milliseconds between checks. */
const LOOK_EVERY = 2000;
const OWNERSHIP = { patience: 300, stale: 5000 };

export interface PresenceEvents {
  /** Another process has taken the lock. */
  taken(): void;
  /** The socket file was removed and must be made again. */
  unreachable(): void;
}

export class Presence {
  readonly #path: string;
  #lock: LockFile | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor(path: string, lock: LockFile | undefined) {
    this.#path = path;
    this.#lock = lock;
  }

  /**
   * Takes the lock `path`, or returns its owner. On a full disk with no living owner known, goes on without the lock
   * and takes it once there is room.
   * @throws the file system's other errors.
   */
  static async take(path: string): Promise<Presence | Partial<Owner>> {
    try {
      const lock = await lockFile(path, OWNERSHIP);
      return lock instanceof LockFile ? new Presence(path, lock) : lock;
    } catch (error) {
      if (NO_ROOM.includes((error as NodeJS.ErrnoException).code!)) return new Presence(path, undefined);
      throw error;
    }
  }

  /** Starts watching over the lock and the socket file. */
  watch(socket: string, events: PresenceEvents): void {
    this.#timer = setInterval(() => void this.#look(socket, events), LOOK_EVERY);
    this.#timer.unref();
  }

  async #look(socket: string, events: PresenceEvents): Promise<void> {
    try {
      if (!(await this.#hold())) return events.taken();
    } catch {
      // The folder is gone, or the disk has failed or is full; running commands go on.
    }
    try {
      if (!lstatSync(socket, { throwIfNoEntry: false })) events.unreachable();
    } catch {
      // As above.
    }
  }

  /** Renews the lock, or recreates a missing file. False when another process has it. */
  async #hold(): Promise<boolean> {
    const state = this.#lock?.state ?? 'gone';
    if (state === 'held') this.#lock!.renew();
    if (state !== 'gone') return state === 'held';
    const again = await lockFile(this.#path, OWNERSHIP);
    if (!(again instanceof LockFile)) return false;
    this.#lock = again;
    return true;
  }

  release(): void {
    clearInterval(this.#timer);
    try {
      this.#lock?.release();
    } catch {
      // Others will notice that we are gone.
    }
  }
}
