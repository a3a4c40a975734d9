/** SIGNAL, CANCEL and RESIZE: done once each, repeats answered from memory. */
import type { MessageNamed } from '../../protocol/messages.js';
import type { KeeperAttachment } from './attachment.js';

export type Operation = MessageNamed<'SIGNAL'> | MessageNamed<'CANCEL'> | MessageNamed<'RESIZE'>;
export type OperationResult = { type: 'OP_OK' } & Omit<MessageNamed<'OP_OK'>, 'type' | 'alias'>;
/** What an operation came to. */
export type Outcome = Pick<OperationResult, 'result' | 'proof'> & Partial<OperationResult>;

const REMEMBERED = 64;

/** The operations of one run. An opId that is in progress is known too: its repeat waits for the same answer. */
export class Operations {
  readonly #answers = new Map<number, OperationResult | undefined>();
  readonly #askers = new Map<number, KeeperAttachment[]>();

  /** Calls `perform` unless this opId has been seen; answers `from` either way. */
  handle(from: KeeperAttachment, opId: number, perform: (answer: (outcome: Outcome) => void) => void): void {
    const answer = this.#answers.get(opId);
    if (answer) return from.send(answer);
    const askers = this.#askers.get(opId);
    if (askers) {
      if (!askers.includes(from)) askers.push(from);
      return;
    }
    if (this.#answers.size >= REMEMBERED) {
      const oldest = this.#answers.keys().next().value;
      if (oldest !== undefined) this.#answers.delete(oldest);
    }
    this.#askers.set(opId, [from]);
    perform((outcome) => {
      const result: OperationResult = { type: 'OP_OK', opId, signalled: [], survivors: [], ...outcome };
      this.#answers.set(opId, result);
      const waiting = this.#askers.get(opId) ?? [];
      this.#askers.delete(opId);
      for (const each of waiting) if (!each.gone) each.send(result);
    });
  }
}
