/** What is typed at our terminals: the input of a command, or the answer to a question that is open there. */
import { Readable } from 'node:stream';
import type { ReadStream } from 'node:tty';

type Take = (keys: Buffer) => void;

let answer: Take | undefined;

/** Gives all that is typed to a question, no matter which reader gets it first. Returns the function that ends that. */
export function answerWith(take: Take): () => void {
  answer = take;
  return () => {
    if (answer === take) answer = undefined;
  };
}

/** Takes what is typed, except for answers. */
export function withoutAnswers(input: Take): Take {
  return (keys) => (answer ?? input)(keys);
}

/** A terminal as the input of a command. */
export class TerminalInput extends Readable {
  readonly #terminal: ReadStream;
  readonly #typed = withoutAnswers((keys) => {
    if (!this.push(keys)) this.#terminal.pause();
  });
  readonly #ended = (): void => void this.push(null);
  readonly #failed = (error: Error): void => void this.destroy(error);

  constructor(terminal: ReadStream) {
    super();
    this.#terminal = terminal.on('data', this.#typed).on('end', this.#ended).on('error', this.#failed).pause();
  }

  override _read(): void {
    this.#terminal.resume();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    // Errors still have their listener.
    this.#terminal.off('data', this.#typed).off('end', this.#ended).pause();
    done(error);
  }
}
