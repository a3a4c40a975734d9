/** What a historical protocol is: a server's side and a client's side. */
import type { Line } from './line.js';
import type { Encoding } from '../encoding.js';

/** Runs a command and gives its output. */
export type Run = (command: string) => AsyncIterable<Buffer>;

export interface ServeOptions {
  /** The encoding of the server's own words (执行成功). */
  readonly encoding: Encoding;
  /** Bytes of an answer at most, where its length must be known before it is sent. */
  readonly maxAnswer: number;
}

/** One of the tutorial's ways to send a command over TCP and its answer back. */
export interface Protocol {
  readonly name: string;
  /**
   * Serves one client until it ends.
   * @throws CommandRefusedError when the client must not be served any further
   */
  serve(line: Line, run: Run, options: ServeOptions): Promise<void>;
  /** Sends a command; the bytes of its answer, as they come. `last`: no other command follows on this line. */
  call(line: Line, command: string, last: boolean): AsyncIterable<Buffer>;
}

/** What the tutorial's server says when a command said nothing. */
export const NOTHING_SAID = '执行成功';

/** The answer to be sent when a command's answer is longer than the server may keep. */
export function tooLong(limit: number): string {
  return `wirelab: the answer is longer than ${limit} bytes and was not kept\n`;
}
