/** What a journal's records say about each run, and the records that say the same again. */
import type { JournalRecord, RecordOf } from './journal.js';

/** Everything the journal knows of one run. */
export interface Facts {
  readonly intent: RecordOf<'intent'>;
  started?: RecordOf<'started'>;
  refused?: RecordOf<'refused'>;
  exit?: RecordOf<'exit'>;
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
 * Reads records in order. Any prefix of a journal gives a true history: later records only add to it. A record that comes
 * again, as on a disk that wrote a block twice, adds nothing.
 */
export function replay(records: readonly JournalRecord[]): History {
  const byNo = new Map<number, Facts>();
  const forgotten = new Set<number>();
  const keepers = new Set<string>();
  const history: History = { runs: [], forgottenBeforeMs: 0, nextNo: 1, bootId: undefined };
  for (const record of records) {
    // Also of a run whose intent was lost: what is left of it must not be taken for another's.
    if ('no' in record) history.nextNo = Math.max(history.nextNo, record.no + 1);
    if (record.kind === 'header') {
      history.forgottenBeforeMs = Math.max(history.forgottenBeforeMs, record.forgottenBeforeMs);
    } else if (record.kind === 'keeper') {
      const keeper = `${record.bootId} ${record.pid} ${record.startMs}`;
      if (!keepers.has(keeper)) history.bootId = record.bootId;
      keepers.add(keeper);
    } else if (record.kind === 'intent') {
      if (!byNo.has(record.no) && !forgotten.has(record.no))
        byNo.set(record.no, { intent: record, treeEnded: false, acked: false, dropped: false });
    } else if (record.kind === 'forgotten') {
      byNo.delete(record.no);
      forgotten.add(record.no);
      history.forgottenBeforeMs = Math.max(history.forgottenBeforeMs, record.notAfterMs);
    } else {
      const facts = byNo.get(record.no);
      if (facts) learn(facts, record);
    }
  }
  history.runs.push(...byNo.values());
  return history;
}

/** A record about a run that is known already. */
export type LaterRecord = RecordOf<'started' | 'refused' | 'exit' | 'treeEnd' | 'acked' | 'dropped'>;

/** Adds what a record says. */
export function learn(facts: Facts, record: LaterRecord): void {
  switch (record.kind) {
    case 'started':
      facts.started = record;
      return;
    case 'refused':
      facts.refused = record;
      return;
    case 'exit':
      // A second one says what the first could not: that all output is stored.
      if (!facts.exit?.drained) facts.exit = record;
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

/** The fewest records that replay to the same facts. */
export function* recordsOf(facts: Facts): Iterable<JournalRecord> {
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
