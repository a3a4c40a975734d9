/** What a journal's entries say about each run, and the entries that say the same again. */
import type { JournalEntry, EntryOf } from './entries.js';

/** Everything the journal knows of one run. */
export interface Facts {
  readonly intent: EntryOf<'intent'>;
  started?: EntryOf<'started'>;
  refused?: EntryOf<'refused'>;
  exit?: EntryOf<'exit'>;
  treeEnded: boolean;
  acked: boolean;
  /** Result and output are gone, only the id is remembered. */
  dropped: boolean;
}

/** A whole journal, understood. */
export interface History {
  readonly runs: Facts[];
  forgottenBeforeMs: number;
  nextNo: number;
  /** Of the last keeper that wrote here. */
  bootId: string | undefined;
}

/**
 * Reads entries in order. Any prefix of a journal gives a true history: later entries only add to it. An entry that comes
 * again, as on a disk that wrote a block twice, adds nothing.
 */
export function historyOf(entries: readonly JournalEntry[]): History {
  const byNo = new Map<number, Facts>();
  const forgotten = new Set<number>();
  const keepers = new Set<string>();
  const history: History = { runs: [], forgottenBeforeMs: 0, nextNo: 1, bootId: undefined };
  for (const entry of entries) {
    // Also of a run whose intent was lost: what is left of it must not be taken for another's.
    if ('no' in entry) history.nextNo = Math.max(history.nextNo, entry.no + 1);
    if (entry.kind === 'header') {
      history.forgottenBeforeMs = Math.max(history.forgottenBeforeMs, entry.forgottenBeforeMs);
    } else if (entry.kind === 'keeper') {
      const keeper = `${entry.bootId} ${entry.pid} ${entry.startMs}`;
      if (!keepers.has(keeper)) history.bootId = entry.bootId;
      keepers.add(keeper);
    } else if (entry.kind === 'intent') {
      if (!byNo.has(entry.no) && !forgotten.has(entry.no))
        byNo.set(entry.no, { intent: entry, treeEnded: false, acked: false, dropped: false });
    } else if (entry.kind === 'forgotten') {
      byNo.delete(entry.no);
      forgotten.add(entry.no);
      history.forgottenBeforeMs = Math.max(history.forgottenBeforeMs, entry.notAfterMs);
    } else if ('no' in entry) {
      const facts = byNo.get(entry.no);
      if (facts) learn(facts, entry);
    }
  }
  history.runs.push(...byNo.values());
  return history;
}

/** An entry about a run that is known already. */
export type LaterEntry = EntryOf<'started' | 'refused' | 'exit' | 'treeEnd' | 'acked' | 'dropped'>;

/** Adds what an entry says. */
export function learn(facts: Facts, entry: LaterEntry): void {
  switch (entry.kind) {
    case 'started':
      facts.started = entry;
      return;
    case 'refused':
      facts.refused = entry;
      return;
    case 'exit':
      // A second one says what the first could not: that all output is stored.
      if (!facts.exit?.stored) facts.exit = entry;
      return;
    case 'treeEnd':
      facts.treeEnded = true;
      return;
    case 'acked':
      facts.acked = true;
      return;
    case 'dropped':
      facts.dropped = true;
  }
}

/** The fewest entries that give the same facts. */
export function* entriesOf(facts: Facts): Iterable<JournalEntry> {
  const { no } = facts.intent;
  if (facts.dropped) {
    yield { ...facts.intent, argv: [], tags: [], name: undefined };
    yield { kind: 'dropped', no };
    return;
  }
  yield facts.intent;
  if (facts.started) yield facts.started;
  if (facts.refused) yield facts.refused;
  if (facts.exit) yield facts.exit;
  if (facts.treeEnded) yield { kind: 'treeEnd', no };
  if (facts.acked) yield { kind: 'acked', no };
}
