/** A host's turn: what is left of its deadline while a link to it is made and its run is opened. */
import { UnreachableError } from '../errors.js';
import { readDuration, type Duration } from '../text/duration.js';
import { DIAL_TIMEOUT, type ConnectOptions } from './connect.js';

/** Begins when it is made. */
export class Turn {
  readonly #deadlineAt: number;
  readonly #stop = new AbortController();

  /** `deadline`: from now to the host's result; 0 and undefined: none. */
  constructor(deadline: Duration | undefined) {
    this.#deadlineAt = performance.now() + (readDuration(deadline) || Infinity);
  }

  /** Leaves no more time for dialling than there is, and dials no more after `stop`. */
  dialOptions(options: ConnectOptions): ConnectOptions {
    const { timeout, retryFor = 0, signal } = options;
    const own = this.#stop.signal;
    const untilStopped = retryFor ? { signal: signal ? AbortSignal.any([signal, own]) : own } : {};
    if (this.#deadlineAt === Infinity) return { ...options, ...untilStopped };
    const left = Math.max(1, this.#deadlineAt - performance.now());
    const within = (time: number) => Math.min(time, left);
    return {
      ...options,
      ...untilStopped,
      timeout: within(readDuration(timeout) ?? DIAL_TIMEOUT),
      ...(retryFor ? { retryFor: within(readDuration(retryFor) ?? 0) } : {}),
    };
  }

  /** The host is not wanted any more. */
  stop(): void {
    this.#stop.abort();
  }

  /**
   * The run's part of the deadline.
   * @throws UnreachableError when nothing is left.
   */
  runOptions(): { deadline?: number } {
    if (this.#deadlineAt === Infinity) return {};
    const deadline = this.#deadlineAt - performance.now();
    if (deadline <= 0) throw new UnreachableError('its deadline passed while a link to the host was made');
    return { deadline };
  }
}
