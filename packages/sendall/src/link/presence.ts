/**
 * One process of a kind for a state folder: agent and keeper each hold a lock file there, renew it, and look after their
 * socket's file, which people and cleaners of old files remove.
 */
import { lstatSync } from 'node:fs';
import { LockFile, lockFile, type Owner } from './lock-file.js';

/** Milliseconds between two looks. */
const LOOK_EVERY = 2000;
const OWNERSHIP = { patience: 300, stale: 5000 };

export interface PresenceEvents {
  /** Somebody else has the lock by now. */
  taken(): void;
  /** The socket's file was removed: it is to be made again. */
  unreachable(): void;
}

export class Presence {
  readonly #path: string;
  #lock: LockFile;
  #timer: NodeJS.Timeout | undefined;

  private constructor(path: string, lock: LockFile) {
    this.#path = path;
    this.#lock = lock;
  }

  /** Takes the lock `path`, or returns who has it. Throws the file system's errors. */
  static async take(path: string): Promise<Presence | Partial<Owner>> {
    const lock = await lockFile(path, OWNERSHIP);
    return lock instanceof LockFile ? new Presence(path, lock) : lock;
  }

  /** From now on looks after the lock and the socket file. */
  watch(socket: string, events: PresenceEvents): void {
    this.#timer = setInterval(() => void this.#look(socket, events), LOOK_EVERY);
    this.#timer.unref();
  }

  async #look(socket: string, events: PresenceEvents): Promise<void> {
    try {
      const { state } = this.#lock;
      if (state === 'held') this.#lock.renew();
      else {
        const again = state === 'gone' ? await lockFile(this.#path, OWNERSHIP) : undefined;
        if (!(again instanceof LockFile)) return events.taken();
        this.#lock = again;
      }
      if (!lstatSync(socket, { throwIfNoEntry: false })) events.unreachable();
    } catch {
      // The folder is gone, or the disk has failed: what runs goes on.
    }
  }

  release(): void {
    clearInterval(this.#timer);
    try {
      this.#lock.release();
    } catch {
      // It will be seen that we are gone.
    }
  }
}
