/**
 * One process of a kind for a state folder: agent and keeper each hold a lock file there, renew it, and look after their
 * socket's file, which people and cleaners of old files remove.
 */
import { lstatSync } from 'node:fs';
import { LockFile, lockFile, type Owner } from './lock-file.js';

/** A disk without room for one more name. */
const NO_ROOM = ['ENOSPC', 'EDQUOT'];
/** Milliseconds between two looks. */
const LOOK_EVERY = 2000;
const OWNERSHIP = { patience: 300, stale: 5000 };

export interface PresenceEvents {
  /** Another process has the lock by now. */
  taken(): void;
  /** The socket's file was removed: it is to be made again. */
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
   * Takes the lock `path`, or returns who has it. On a disk without room for it, where no owner is known to live, goes on
   * without and takes it when there is room.
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

  /** From now on looks after the lock and the socket file. */
  watch(socket: string, events: PresenceEvents): void {
    this.#timer = setInterval(() => void this.#look(socket, events), LOOK_EVERY);
    this.#timer.unref();
  }

  async #look(socket: string, events: PresenceEvents): Promise<void> {
    try {
      if (!(await this.#hold())) return events.taken();
    } catch {
      // The folder is gone, or the disk has failed or is full: what runs goes on.
    }
    try {
      if (!lstatSync(socket, { throwIfNoEntry: false })) events.unreachable();
    } catch {
      // As above.
    }
  }

  /** Renews the lock, or takes it where its file is missing. False when another has it. */
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
      // It will be seen that we are gone.
    }
  }
}
