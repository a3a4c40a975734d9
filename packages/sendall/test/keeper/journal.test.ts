import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lengthPrefixed } from '@sendall/framing';
import { entriesOf, historyOf, type Facts } from '../../dist/keeper/journal/history.js';
import { encodeEntries, type JournalEntry } from '../../dist/keeper/journal/entries.js';
import { Journal } from '../../dist/keeper/journal/journal.js';
import { readJournal } from '../../dist/keeper/journal/reading.js';
import { Remembered } from '../../dist/keeper/journal/remembered.js';
import { KeeperClient } from './keeper-client.js';

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'journal-'));
  path = join(folder, 'journal');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A spool without output. */
const nothing = { hasStrays: () => false, setAside: () => undefined };

const exitOf = (code: number) => ({ code, upto: [], survivors: [], startMs: 1, endMs: 2 });

function intent(no: number, notAfterMs = 1000): JournalEntry {
  return {
    kind: 'intent',
    no,
    principal: 'p',
    runId: new Uint8Array(16).fill(no),
    specHash: new Uint8Array(32).fill(no),
    notAfterMs,
    openedMs: 1,
    keepMs: 1,
    argv: [new Uint8Array([no])],
    tags: [],
    name: undefined,
  };
}
const started = (no: number): JournalEntry => ({
  kind: 'started',
  no,
  pid: 100 + no,
  startMs: 1,
  program: new Uint8Array([1]),
  bootId: 'boot',
  ticks: undefined,
  cgroup: undefined,
});

/** Random but possible histories of runs, interleaved. */
const lives = fc
  .array(
    fc.record({
      end: fc.constantFrom(
        'intent',
        'started',
        'refused',
        'unstored',
        'exit',
        'treeEnd',
        'acked',
        'dropped',
        'forgotten',
      ),
      weight: fc.integer({ min: 1, max: 9 }),
    }),
    { maxLength: 8 },
  )
  .map((runs) => {
    const queues = runs.map(({ end }, i): JournalEntry[] => {
      const no = i + 1;
      const entries: JournalEntry[] = [intent(no, 1000 + no)];
      const steps: [string, JournalEntry][] = [
        ['started', started(no)],
        ['unstored', { kind: 'exit', no, exit: exitOf(no), stored: false }],
        ['exit', { kind: 'exit', no, exit: exitOf(no), stored: true }],
        ['treeEnd', { kind: 'treeEnd', no }],
        ['acked', { kind: 'acked', no }],
        ['dropped', { kind: 'dropped', no }],
        ['forgotten', { kind: 'forgotten', no, notAfterMs: 1000 + no }],
      ];
      if (end === 'refused') return [...entries, { kind: 'refused', no, code: 'nofile', message: 'gone' } as const];
      if (end === 'intent') return entries;
      for (const [name, entry] of steps) {
        entries.push(entry);
        if (name === end) break;
      }
      return entries;
    });
    const mixed: JournalEntry[] = [];
    for (let turn = 0; queues.some((queue) => queue.length > 0); turn++)
      for (const [i, queue] of queues.entries())
        if (turn % runs[i]!.weight === 0 && queue.length > 0) mixed.push(queue.shift()!);
    return mixed;
  });

const summary = (facts: Facts): object => ({
  no: facts.intent.no,
  started: facts.dropped || facts.started !== undefined,
  refused: facts.refused?.code,
  code: facts.dropped ? undefined : facts.exit?.exit.code,
  stored: facts.dropped ? undefined : facts.exit?.stored,
  treeEnded: facts.dropped || facts.treeEnded,
  acked: facts.dropped || facts.acked,
  dropped: facts.dropped,
});

function write(entries: readonly JournalEntry[]): void {
  const { journal } = Journal.open(path, 'boot', nothing);
  for (const entry of entries) journal.append(entry);
  journal.close();
}

describe('the journal', () => {
  test('returns appended entries, and each new one has its own epoch', () => {
    const entries = [intent(1), started(1), { kind: 'exit', no: 1, exit: exitOf(3), stored: true } as const];
    write(entries);
    const again = Journal.open(path, 'boot', nothing);
    expect(again.entries.slice(1)).toMatchObject(entries.map((entry) => ({ kind: entry.kind, no: 1 })));
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const other = Journal.open(join(folder, 'other'), 'boot', nothing);
    expect(other.journal.epoch).not.toEqual(again.journal.epoch);
    again.journal.close();
    other.journal.close();
  });

  test('every prefix recovers to a true state: it only lacks later entries', () => {
    fc.assert(
      fc.property(lives, fc.double({ min: 0, max: 1, noNaN: true }), (entries, cut) => {
        rmSync(path, { force: true });
        write(entries);
        const whole = readFileSync(path);
        const { end } = readJournal(whole);
        // Bytes after the cut never reached the disk.
        const kept = Math.floor(end * cut);
        const torn = Buffer.concat([whole.subarray(0, kept), Buffer.alloc(whole.length - kept)]);
        const found = readJournal(torn).entries.slice(1);
        expect(found.length).toBeLessThanOrEqual(entries.length);
        const expected = historyOf(entries.slice(0, found.length));
        const history = historyOf(found);
        expect(history.runs.map(summary)).toEqual(expected.runs.map(summary));
        expect(history.forgottenBeforeMs).toBe(expected.forgottenBeforeMs);
        // An id is known, or refused by forgottenBefore: never free to start again.
        for (const entry of found)
          if (entry.kind === 'intent')
            expect(
              history.runs.some((run) => run.intent.no === entry.no) || entry.notAfterMs <= history.forgottenBeforeMs,
            ).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('a journal of real commands, cut at every byte, never reports what did not happen', async () => {
    const home = join(folder, 'home');
    const keeper = await KeeperClient.start({}, home);
    const runs = [
      keeper.sh('echo out; exit 3'),
      keeper.exec('true'),
      keeper.exec('no-such-program'),
      keeper.sh('kill -9 $$'),
      keeper.exec('sleep', '600'),
    ];
    await runs[4]!.wait('STARTED');
    await runs[4]!.operate({ type: 'CANCEL' });
    for (const run of runs) await Promise.race([run.wait('TREE_END'), run.wait('REFUSED')]);
    await keeper.end();
    const whole = readFileSync(join(home, 'journal'));
    const { entries, end } = readJournal(whole);
    const truth = new Map(historyOf(entries).runs.map((facts) => [facts.intent.no, facts]));
    expect(
      [...truth.values()].map(({ exit, refused }) => refused?.code ?? exit?.exit.signal ?? exit?.exit.code),
    ).toEqual([3, 0, 'nofile', 'SIGKILL', 'SIGTERM']);
    let known = 0;
    for (let cut = 0; cut <= end; cut++) {
      const torn = Buffer.concat([whole.subarray(0, cut), Buffer.alloc(64)]);
      const history = historyOf(readJournal(torn).entries);
      expect(history.runs.length).toBeGreaterThanOrEqual(known);
      known = history.runs.length;
      for (const facts of history.runs) {
        const real = truth.get(facts.intent.no)!;
        expect(facts.intent).toEqual(real.intent);
        if (facts.started) expect(facts.started).toEqual(real.started);
        if (facts.refused) expect(facts.refused).toEqual(real.refused);
        if (facts.exit?.stored) expect(facts.exit).toEqual(real.exit);
      }
    }
    expect(known).toBe(runs.length);
    // A keeper that reads the rest reports the truth, or that a run is lost; and starts none of them again.
    for (let part = 1; part <= 8; part++) {
      writeFileSync(join(home, 'journal'), Buffer.concat([whole.subarray(0, (end * part) / 8), Buffer.alloc(4096)]));
      const next = await KeeperClient.start({}, home);
      for (const { runId, state, code, signal } of await next.list()) {
        const real = [...truth.values()].find(({ intent: { runId: id } }) => Buffer.compare(id, runId) === 0)!;
        if (state === 'exited')
          expect({ code, signal }).toEqual({ code: real.exit!.exit.code, signal: real.exit!.exit.signal });
        else expect(real.refused ? ['refused', 'lost'] : ['lost']).toContain(state);
      }
      await next.end();
    }
  });

  test('after a restart of the machine a torn end is cut off and written over', () => {
    write([{ kind: 'keeper', bootId: 'boot', pid: 1, startMs: 1 }, intent(1), intent(2)]);
    const { end } = readJournal(readFileSync(path));
    const fd = openSync(path, 'r+');
    writeSync(fd, Buffer.from('garbage'), 0, 7, end - 20);
    closeSync(fd);
    const { journal, entries } = Journal.open(path, 'next boot', nothing);
    expect(entries.filter(({ kind }) => kind === 'intent')).toHaveLength(1);
    journal.append(intent(3));
    journal.close();
    const after = readJournal(readFileSync(path));
    expect(after.entries.map((entry) => ('no' in entry ? entry.no : entry.kind))).toEqual(['header', 'keeper', 1, 3]);
    expect(after.torn).toBe(false);
  });

  test('damage in the same boot is no crash: the epoch changes, so that nothing can start twice', () => {
    write([{ kind: 'keeper', bootId: 'boot', pid: 1, startMs: 1 }, intent(1), intent(2)]);
    const before = readJournal(readFileSync(path));
    const fd = openSync(path, 'r+');
    writeSync(fd, Buffer.from('garbage'), 0, 7, before.end - 20);
    closeSync(fd);
    const { journal } = Journal.open(path, 'boot', nothing);
    expect(journal.epoch).not.toEqual(Buffer.from((before.entries[0] as { epoch: Uint8Array }).epoch));
    journal.close();
  });

  test.each([
    [
      'the first version',
      Buffer.concat([Buffer.from('0108011210', 'hex'), Buffer.alloc(16, 7), Buffer.from('1800', 'hex')]),
    ],
    ['a kind of entry to come', Buffer.from('63000000000801', 'hex')],
  ])('sound entries of %s are refused with the next step', (_, entry) => {
    const framing = lengthPrefixed({ checksum: { bytes: 4, compute: (payload) => crc32(payload) } });
    writeFileSync(path, Buffer.concat([framing.encoder().encode(entry), Buffer.alloc(100)]));
    expect(() => Journal.open(path, 'boot', nothing)).toThrow(
      /another version of sendall.*: move it away to begin a new one$/,
    );
  });

  test('a journal of another version is refused', () => {
    writeFileSync(
      path,
      encodeEntries([{ kind: 'header', version: 3, epoch: new Uint8Array(16), forgottenBeforeMs: 0 }]),
    );
    expect(() => Journal.open(path, 'boot', nothing)).toThrow(/has version 3, this keeper writes 2/);
  });

  test('random bytes after the last entry at worst end the journal', () => {
    write([intent(1)]);
    const whole = readFileSync(path);
    const { end } = readJournal(whole);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (junk) => {
        const file = Buffer.from(whole.subarray(0, end + 300));
        file.set(junk.subarray(0, file.length - end), end);
        const { entries } = readJournal(file);
        expect(entries.slice(0, 2).map(({ kind }) => kind)).toEqual(['header', 'intent']);
      }),
    );
  });

  test('it is preallocated: the file grows only when a step is full', () => {
    const { journal } = Journal.open(path, 'boot', nothing);
    const size = statSync(path).size;
    for (let i = 1; i <= 1000; i++) journal.append(intent(i % 250));
    journal.flush();
    expect(statSync(path).size).toBe(size);
    journal.reserve(10_000);
    expect(statSync(path).size).toBeGreaterThan(size);
    journal.close();
  });

  test('concurrent syncs are merged into one', async () => {
    const { journal } = Journal.open(path, 'boot', nothing);
    const synced = Array.from({ length: 50 }, (_, i) => {
      journal.append(intent(i + 1));
      return new Promise((resolve) => journal.sync(resolve));
    });
    expect(await Promise.all(synced)).toEqual(Array(50).fill(undefined));
    expect(journal.syncs).toBe(1);
    journal.close();
  });

  test('compaction keeps what is known and nothing else, and the result is a valid journal', () => {
    fc.assert(
      fc.property(lives, (entries) => {
        rmSync(path, { force: true });
        const { journal } = Journal.open(path, 'boot', nothing);
        for (const entry of entries) journal.append(entry);
        const before = historyOf(entries);
        journal.compact(
          before.forgottenBeforeMs,
          before.runs.map((facts) => encodeEntries(entriesOf(facts))),
        );
        journal.append(intent(99));
        journal.close();
        const after = historyOf(readJournal(readFileSync(path)).entries);
        expect(after.forgottenBeforeMs).toBe(before.forgottenBeforeMs);
        expect(after.runs.slice(0, -1).map(summary)).toEqual(before.runs.map(summary));
        expect(after.runs.at(-1)!.intent.no).toBe(99);
      }),
      { numRuns: 50 },
    );
  });

  test('a finished run is remembered as in the journal, completely, whenever it was packed', () => {
    fc.assert(
      fc.property(lives, fc.nat(12), fc.uint8Array({ maxLength: 40 }), (entries, when, rawSpec) => {
        const known = new Map<number, Remembered>();
        for (const [i, entry] of entries.entries()) {
          if (entry.kind === 'intent')
            known.set(
              entry.no,
              new Remembered({ intent: entry, treeEnded: false, acked: false, dropped: false }, encodeEntries([entry])),
            );
          else if ('no' in entry && entry.kind !== 'forgotten')
            known.get(entry.no)!.learn(entry, encodeEntries([entry]));
          if (i >= when) for (const each of known.values()) each.pack(rawSpec);
        }
        for (const { intent, ...facts } of historyOf(entries).runs) {
          const run = known.get(intent.no)!;
          expect(summary(run.facts)).toEqual(summary({ intent, ...facts }));
          expect([...run.facts.intent.runId]).toEqual([...intent.runId]);
          const isOver = facts.dropped || facts.refused !== undefined || facts.exit?.stored === true;
          expect(run).toMatchObject({ isDropped: facts.dropped, isOver, notAfterMs: intent.notAfterMs });
          if (!facts.dropped) expect(run.isAcked).toBe(facts.acked);
          if (run.rawSpec) expect([...run.rawSpec]).toEqual([...rawSpec]);
          expect(historyOf(readJournal(run.entries).entries).runs.map(summary)).toEqual([summary(run.facts)]);
        }
      }),
    );
  });

  test('an empty journal is a new one', () => {
    write([intent(1)]);
    truncateSync(path, 0);
    const { entries } = Journal.open(path, 'boot', nothing);
    expect(entries).toEqual([]);
  });
});

/** Entries as text, bytes as the characters they stand for. */
const inspectBytes = (entries: readonly JournalEntry[]): string =>
  JSON.stringify(entries, (_, value: { type?: string; data?: number[] } | undefined) =>
    value?.type === 'Buffer' ? Buffer.from(value.data!).toString('latin1') : value,
  );

test('shell text, variables and stdin are not in the journal, and listings show the text while it is known', async () => {
  const home = join(folder, 'home');
  const keeper = await KeeperClient.start({}, home);
  const run = keeper.sh('read line; echo "text-$line-$WHAT"', { env: [Buffer.from('WHAT=variable')], stdin: true });
  await run.wait('STARTED');
  run.input(0, Buffer.from('stdin\n'));
  expect(await run.text()).toBe('text-stdin-variable\n');
  await run.wait('TREE_END');
  const [shown] = await keeper.list();
  expect(shown!.argv.map((word) => Buffer.from(word).toString())).toEqual([
    'sh',
    '-c',
    'read line; echo "text-$line-$WHAT"',
  ]);
  expect(await keeper.forget(run.runId)).toBe('done');
  await keeper.end();
  // Decoded: on the disk, entries are masked.
  const { entries } = readJournal(readFileSync(join(home, 'journal')));
  const said = inspectBytes(entries);
  expect(said).toContain('"-c"');
  for (const secret of ['text-', 'variable', 'stdin']) expect(said).not.toContain(secret);
});
