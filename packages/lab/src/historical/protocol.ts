/** The interface of a historical protocol: a server's side and a client's side. */
import type { Line } from './line.js';
import type { Encoding } from '../encoding.js';

/** Runs a command and yields its output. */
export type Run = (command: string) => AsyncIterable<Buffer>;

export interface ServeOptions {
  /** The encoding of the server's own message (执行成功). */
  readonly encoding: Encoding;
  /** Most bytes of an answer whose length must be known before it is sent. */
  readonly maxAnswer: number;
}

/** One of the tutorial's ways to send a command over TCP and its answer back. */
export interface Protocol {
  readonly name: string;
  /**
   * Serves one client until it ends.
   * @throws CommandRefusedError when the client must not be served any longer
   */
  serve(line: Line, run: Run, options: ServeOptions): Promise<void>;
  /** Sends a command; yields the bytes of its answer, as they arrive. `last`: no other command follows on this line. */
  call(line: Line, command: string, last: boolean): AsyncIterable<Buffer>;
}

/** The tutorial server's answer to a command without output. */
export const NOTHING_SAID = '执行成功';

/** The answer sent in place of one that exceeds the server's limit. */
export function tooLong(limit: number): string {
  return `wirelab: the answer is longer than ${limit} bytes and was not kept\n`;
}
