/** Calls of `flush()`, `drain()` and `close()` that wait for the socket. */
interface Waiter {
  want: 'drain' | 'flush' | 'close';
  resolve: () => void;
  reject: (error: Error) => void;
}

export class Waiters {
  #waiting: Waiter[] = [];

  add(want: Waiter['want']): Promise<void> {
    const waiting = new Promise<void>((resolve, reject) => this.#waiting.push({ want, resolve, reject }));
    waiting.catch(() => {});
    return waiting;
  }

  /** The socket sent something, and `pending` bytes are left to send. */
  sent(pending: number, highWaterMark: number): void {
    this.#waiting = this.#waiting.filter(({ want, resolve }) => {
      const met = want === 'drain' ? pending < highWaterMark : want === 'flush' && pending === 0;
      if (met) resolve();
      return !met;
    });
  }

  /** The connection is over: that is what `close()` waited for, and the others waited for in vain. */
  end(why: () => Error): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { want, resolve, reject } of waiting) {
      if (want === 'close') resolve();
      else reject(why());
    }
  }
}
