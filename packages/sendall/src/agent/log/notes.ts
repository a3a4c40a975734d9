/** Tells the keeper's log what only the agent knows: pairing, policy, its own start and end, and whom it turned away. */
import { Folding } from '../../log/folding.js';
import type { RecordOf } from '../../log/records.js';
import { HAS_LOG } from '../../protocol/messages.js';
import type { KeeperGate } from '../gate.js';

/** Sources of strangers that are told apart in one minute: what they make the log grow by, they take of others' room. */
const MOST_STRANGERS = 32;

export class Notes {
  readonly #gate: KeeperGate;
  readonly #folding = new Folding((kind, record) => this.#send(kind, record));
  /** Apart from those of principals: strangers with many addresses could hide what these were refused. */
  readonly #strangers = new Folding((kind, record) => this.#send(kind, record), MOST_STRANGERS);

  constructor(gate: KeeperGate) {
    this.#gate = gate;
  }

  /** Something of the agent's own. */
  tell(what: string, record: RecordOf<'note'> = {}): void {
    this.#send('note', { what, ...record });
  }

  /** A caller was turned away before it had a name here; told once a minute for each `key`, with its number. */
  turnedAway(key: string, record: RecordOf<'note'>): void {
    this.#strangers.add(key, 'note', { what: 'turned away', ...record });
  }

  /** A principal was refused something; told once a minute for each principal and rule. */
  refused(record: RecordOf<'refuse'>): void {
    const { principal, code, rule } = record;
    this.#folding.add(`refused ${JSON.stringify([principal, code, rule])}`, 'refuse', record);
  }

  #send(kind: string, record: object): void {
    const { features } = this.#gate;
    // A keeper from before an upgrade has no log.
    if (this.#gate.pid !== undefined && !features.includes(HAS_LOG)) return;
    this.#gate.tell({ type: 'NOTE', alias: 0, kind, body: JSON.stringify(record) });
  }

  /** The agent ends: what was counted is told. */
  close(): void {
    this.#folding.flush();
    this.#strangers.flush();
  }
}
