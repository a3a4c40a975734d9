/** Links to a fleet's hosts while they are made, and the end of waiting for them. */
import type { Host } from '../client/host.js';
import type { Turn } from '../client/turn.js';
import { SendallError, UnreachableError } from '../errors.js';

/** Makes a connection to one of a fleet's hosts. */
export type Reach = (name: string, turn: Turn) => Promise<Host>;

export class Dialling {
  readonly #reach: Reach;
  /** By host whose link is being made: stops waiting for it. */
  readonly #waiting = new Map<string, () => void>();
  #stopped = false;

  constructor(reach: Reach) {
    this.#reach = reach;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Waits for no further link. */
  stop(): void {
    this.#stopped = true;
    for (const stop of this.#waiting.values()) stop();
  }

  /** The host, or undefined if it is stopped first; a link that is ready later is closed. */
  async hostUnlessStopped(name: string, turn: Turn): Promise<Host | undefined> {
    // Since its turn came.
    if (this.#stopped) return undefined;
    const dialling = this.#reach(name, turn);
    const stopped = new Promise<undefined>((resolve) => this.#waiting.set(name, () => resolve(undefined)));
    const host = await Promise.race([dialling, stopped]).finally(() => this.#waiting.delete(name));
    if (host && !this.#stopped) return host;
    turn.stop();
    void dialling.then(
      async (late) => await late.close(),
      () => undefined,
    );
    return undefined;
  }
}

/** Why a host was not reached. */
export function reachError(error: Error): SendallError {
  return error instanceof SendallError ? error : new UnreachableError(error.message, { cause: error });
}
