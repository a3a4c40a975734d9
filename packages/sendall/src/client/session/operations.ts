/**
 * Requests about a run that await an answer: signals, cancelling, a new terminal size. Each has a number, so the next
 * link can repeat it and the host still acts once.
 */
import type { MessageNamed } from '../../protocol/messages.js';
import { randomPiece } from '../../protocol/run-id.js';

export type Operation = MessageNamed<'SIGNAL'> | MessageNamed<'CANCEL'> | MessageNamed<'RESIZE'>;
type Answer = MessageNamed<'OP_OK'>;

/** Numbers start at random: other callers of the same run number their operations too. */
let lastOp: number | undefined;

/** A number no other operation has. */
export function newOpId(): number {
  lastOp ??= Math.floor(randomPiece(6).readUIntBE(0, 6) / 2) * 32;
  return ++lastOp;
}

export class Operations {
  readonly #open = new Map<number, { operation: Operation; answered: (answer: Answer) => void }>();

  get size(): number {
    return this.#open.size;
  }

  /** Notes an operation; resolves with its answer. */
  add(operation: Operation): Promise<Answer> {
    return new Promise((answered) => this.#open.set(operation.opId, { operation, answered }));
  }

  /** The unanswered ones, in order. */
  *unanswered(): Generator<Operation, void, undefined> {
    for (const { operation } of this.#open.values()) yield operation;
  }

  answer(message: Answer): void {
    this.#open.get(message.opId)?.answered(message);
    this.#open.delete(message.opId);
  }

  /** No more answers will arrive. `result` says why. */
  end(result: string): void {
    for (const [opId, { answered }] of this.#open)
      answered({ type: 'OP_OK', alias: 0, opId, result, signalled: [], survivors: [] });
    this.#open.clear();
  }
}
