/** Reads a process's output: counts and sums it. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as rest } from 'node:timers/promises';
import type { ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';

/** Milliseconds a slow reader rests after each chunk. */
const REST = 20;

/**
 * Reads to the end, or only the first `most` bytes. A `held` reader reads nothing until released: its pipe fills up,
 * and the process must wait.
 */
export class Reader {
  #child;
  #sum = createHash('sha256');
  #letGo = () => {};
  length = 0;
  /** The messages on stderr. */
  said = '';
  /** The process has ended and all its output is read. */
  over = false;
  /** The exit code; null after a signal. */
  code: number | null | undefined;
  /** Resolves at the first byte. */
  begun;
  ended;

  constructor(
    child: ChildProcess,
    { slow = false, held = false, most = Infinity }: { slow?: boolean; held?: boolean; most?: number } = {},
  ) {
    this.#child = child;
    child.stderr?.setEncoding('utf8').on('data', (text) => (this.said += text));
    const stdout = child.stdout as Readable;
    this.begun = once(stdout, 'readable');
    const free = held ? new Promise((go: (value?: undefined) => void) => (this.#letGo = go)) : undefined;
    this.ended = this.#read(stdout, free, slow, most);
  }

  async #read(stdout: Readable, free: Promise<void> | undefined, slow: boolean, most: number) {
    const closed = once(this.#child, 'close');
    await free;
    for await (const chunk of stdout) {
      const bytes = chunk.subarray(0, most - this.length);
      this.#sum.update(bytes);
      this.length += bytes.length;
      if (slow) await rest(REST);
    }
    [this.code] = await closed;
    this.over = true;
    return this;
  }

  get pid() {
    return this.#child.pid ?? 0;
  }

  get sum() {
    return this.#sum.copy().digest('hex');
  }

  letGo() {
    this.#letGo();
  }
}
