/**
 * Folds what others can repeat at will: the first of its kind is told at once, and what follows within a minute as one,
 * with its number. So the log grows by a bounded number of lines, whatever strangers do.
 */
import type { RecordOf } from './records.js';

type Foldable = 'refuse' | 'note' | 'attach' | 'detach' | 'signal' | 'cancel';
/** Called with a record to write. */
export type Tell = <K extends Foldable>(kind: K, record: RecordOf<K>) => void;

const MINUTE = 60_000;
const MOST_KEYS = 1000;
const REST = '';

interface Folded {
  readonly kind: Foldable;
  readonly record: RecordOf<Foldable>;
  count: number;
}

export class Folding {
  readonly #tell: Tell;
  readonly #mostKeys: number;
  readonly #rest: RecordOf<'note'>;
  readonly #folded = new Map<string, Folded>();
  #from = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * `mostKeys`: kinds of things that are told apart in one minute; the rest of them is one kind. `whose`: stands in the
   * record of that rest.
   */
  constructor(tell: Tell, mostKeys = MOST_KEYS, whose: RecordOf<'note'> = {}) {
    this.#tell = tell;
    this.#mostKeys = mostKeys;
    this.#rest = { ...whose, what: 'more events' };
  }

  /** Something has happened; `key` is the same for what may be folded. */
  add<K extends Foldable>(key: string, kind: K, record: RecordOf<K>): void {
    this.#timer ??= this.#begin();
    const isFull = this.#folded.size >= this.#mostKeys && !this.#folded.has(key);
    const known = this.#folded.get(isFull ? REST : key);
    if (known) known.count++;
    else {
      // Of what is folded as the rest, only its number is known.
      this.#folded.set(isFull ? REST : key, {
        kind: isFull ? 'note' : kind,
        record: isFull ? this.#rest : record,
        count: isFull ? 1 : 0,
      });
      if (!isFull) this.#tell(kind, record);
    }
  }

  #begin(): NodeJS.Timeout {
    this.#from = Date.now();
    return setTimeout(() => this.flush(), MINUTE).unref();
  }

  /** Tells what was counted so far. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const from = new Date(this.#from).toISOString();
    for (const { kind, record, count } of this.#folded.values())
      if (count) this.#tell(kind, { ...record, count, from });
    this.#folded.clear();
  }
}
