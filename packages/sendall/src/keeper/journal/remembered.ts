/**
 * What is known of one run, and remembered when it is over: then as the bytes that the journal has of it, for objects take
 * several times as much, and a keeper remembers very many runs.
 */
import { learn, entriesOf, historyOf, type Facts, type LaterEntry } from './history.js';
import { encodeEntries } from './entries.js';
import { readJournal } from './reading.js';

/** Entries in frames, and behind them the spec as it came. */
interface Packed {
  readonly bytes: Buffer;
  readonly specAt: number;
}

function pack(entries: Buffer, rawSpec: Uint8Array | undefined): Packed {
  // Not from the pool: a piece of that would stay for as long as any of its neighbours.
  const bytes = Buffer.allocUnsafeSlow(entries.length + (rawSpec?.length ?? 0));
  bytes.set(entries);
  if (rawSpec) bytes.set(rawSpec, entries.length);
  return { bytes, specAt: entries.length };
}

/** What was unpacked last: one question about a run is mostly followed by others. */
let latest: { readonly of: Packed; readonly facts: Facts } | undefined;

export class Remembered {
  // What is asked of all runs together is at hand.
  readonly no: number;
  readonly principal: string;
  readonly keepMs: number;
  readonly notAfterMs: number;
  /** Nothing is kept of it once its caller has its end. */
  readonly passes: boolean;
  isAcked: boolean;
  /** The command has ended and all was stored that it wrote before, or it never began. */
  isOver: boolean;
  /** Only the id is remembered. */
  isDropped: boolean;
  /** When the command ended; when the run was opened, as long as it has not or when it never began. */
  endMs: number;
  #state: Facts | Packed;
  /** All that was learned, in frames; undefined when it begins elsewhere. */
  #frames: Buffer[] | undefined;

  /** `frame`: the intent, when nothing else is known. */
  constructor(facts: Facts, frame?: Buffer) {
    const { no, principal, keepMs, notAfterMs, openedMs, passing = false } = facts.intent;
    this.no = no;
    this.principal = principal;
    this.keepMs = keepMs;
    this.notAfterMs = notAfterMs;
    this.passes = passing;
    this.isAcked = facts.acked;
    this.isOver = facts.dropped || facts.refused !== undefined || facts.exit?.stored === true;
    this.isDropped = facts.dropped;
    this.endMs = facts.exit?.exit.endMs ?? openedMs;
    this.#state = facts;
    this.#frames = frame && [frame];
  }

  /** Everything that the journal knows. */
  get facts(): Facts {
    const state = this.#state;
    if (!('bytes' in state)) return state;
    if (latest?.of !== state) latest = { of: state, facts: historyOf(readJournal(this.entries).entries).runs[0]! };
    return latest.facts;
  }

  /** As few entries as say it all, in frames. */
  get entries(): Buffer {
    const state = this.#state;
    return 'bytes' in state ? state.bytes.subarray(0, state.specAt) : encodeEntries(entriesOf(state));
  }

  /** The spec as it came, of a run that is over, if it was kept. */
  get rawSpec(): Uint8Array | undefined {
    const state = this.#state;
    return 'bytes' in state && state.specAt < state.bytes.length ? state.bytes.subarray(state.specAt) : undefined;
  }

  learn(entry: LaterEntry, frame: Buffer): void {
    if (entry.kind === 'exit') {
      this.endMs = entry.exit.endMs;
      this.isOver = entry.stored;
    } else if (entry.kind === 'refused') this.isOver = true;
    else if (entry.kind === 'acked') this.isAcked = true;
    else if (entry.kind === 'dropped') this.isDropped = true;
    if (!('bytes' in this.#state)) {
      learn(this.#state, entry);
      this.#frames?.push(frame);
    } else if (entry.kind === 'dropped')
      this.#state = pack(encodeEntries(entriesOf({ ...this.facts, dropped: true })), undefined);
    else this.#state = pack(Buffer.concat([this.entries, frame]), this.rawSpec);
  }

  /** The run is over: little more will be learned. */
  pack(rawSpec?: Uint8Array): void {
    if ('bytes' in this.#state) return;
    this.#state = pack(this.#frames ? Buffer.concat(this.#frames) : this.entries, rawSpec);
    this.#frames = undefined;
  }
}
