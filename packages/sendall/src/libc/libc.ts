/** libc through koffi: functions bound by their C declarations, and errors that name the function that failed. */
import { SystemError } from './system-error.js';

type Koffi = (typeof import('koffi'))['default'];

/** A bound function. What it returns fits a number: counts, descriptors, ids. */
export type Call = (...values: Value[]) => number;
/** What a bound function takes. */
export type Value = number | bigint | string | Uint8Array | null;

/** Larger than the structures of these calls are in any libc. */
export const ROOM = 1024;

export class Libc {
  readonly koffi: Koffi;
  /** Error numbers by name, as this system has them. */
  readonly code: Readonly<Record<string, number>>;
  readonly #library: ReturnType<Koffi['load']>;

  constructor(koffi: Koffi) {
    this.koffi = koffi;
    this.code = koffi.os.errno;
    this.#library = koffi.load(null);
  }

  /** The error number of this thread's last call. */
  get errno(): number {
    return this.koffi.errno();
  }

  /** A function as it is: its caller looks at the result. */
  plain(declaration: string): Call {
    return this.#library.func(declaration) as Call;
  }

  /**
   * A function that returns less than 0 when it fails.
   * @throws SystemError then, under its own name or under the one of the system call that it makes.
   */
  checked(declaration: string, name = nameOf(declaration)): Call {
    const call = this.plain(declaration);
    return (...values) => {
      const result = call(...values);
      if (result < 0) throw new SystemError(name, this.errno);
      return result;
    };
  }

  /**
   * A function that returns an error number, or 0.
   * @throws SystemError for all but 0.
   */
  checkedByResult(declaration: string): Call {
    const call = this.plain(declaration);
    const name = nameOf(declaration);
    return (...values) => {
      const code = call(...values);
      if (code !== 0) throw new SystemError(name, code);
      return code;
    };
  }

  /** What a call returns that runs on another thread, because it may take long. Its errno stays there. */
  later(call: Call, ...values: Value[]): Promise<number> {
    const { async: start } = call as Call & { async: (this: void, ...args: unknown[]) => void };
    return new Promise((resolve, reject) => {
      start(...values, (error: Error | null, result: number) => (error ? reject(error) : resolve(result)));
    });
  }

  /**
   * Nothing now: the call would have to wait.
   * @throws SystemError when the last call failed for another reason.
   */
  wouldBlock(name: string): -1 {
    const { errno } = this;
    if (errno === this.code.EAGAIN || errno === this.code.EINTR) return -1;
    throw new SystemError(name, errno);
  }
}

const nameOf = (declaration: string): string => /(\w+)\(/.exec(declaration)![1]!;
