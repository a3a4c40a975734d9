/** A journal damaged by the disk: sound entries count, damaged ones are kept aside, and both are reported. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { resolveHome, type Home } from '../../dist/home.js';
import { encodeEntries, type JournalEntry } from '../../dist/keeper/journal/entries.js';
import { historyOf } from '../../dist/keeper/journal/history.js';
import { Journal, journalFile } from '../../dist/keeper/journal/journal.js';
import { readJournal } from '../../dist/keeper/journal/reading.js';
import { SetAside, setAsideFolders } from '../../dist/keeper/journal/set-aside.js';
import { spoolFolder, spoolFolderName, spoolRoot } from '../../dist/keeper/output/spool.js';
import { KeeperClient, PRINCIPAL } from './keeper-client.js';

let folder: string;
let home: Home;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'damage-'));
  home = resolveHome({ SENDALL_HOME: folder });
  mkdirSync(spoolRoot(home));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const RUNS = 24;
const runIdOf = (no: number): Buffer => Buffer.alloc(16, no);

/** The journal of a keeper for some runs, each of which ended with its number as the code. */
function records(): JournalEntry[] {
  return Array.from({ length: RUNS }, (_, i) => i + 1).flatMap((no): JournalEntry[] => [
    {
      kind: 'intent',
      no,
      principal: PRINCIPAL,
      runId: runIdOf(no),
      specHash: Buffer.alloc(32, no),
      notAfterMs: 1000 + no,
      openedMs: no,
      keepMs: 1,
      // Arguments that look like framed entries of other runs.
      argv: [encodeEntries([{ kind: 'forgotten', no: (no % RUNS) + 1, notAfterMs: 9999 }])],
      tags: [],
    },
    { kind: 'started', no, pid: 100 + no, startMs: no, program: Buffer.from('/bin/true'), bootId: 'boot' },
    {
      kind: 'exit',
      no,
      exit: { code: no, upto: [], survivors: [], startMs: no, endMs: no + 1 },
      stored: true,
    },
    { kind: 'treeEnd', no },
  ]);
}

function writeWhole(): Buffer {
  const { journal } = Journal.open(journalFile(home), 'boot', new SetAside(home));
  journal.append({ kind: 'keeper', bootId: 'boot', pid: 1, startMs: 1 });
  for (const entry of records()) journal.append(entry);
  journal.close();
  for (let no = 1; no <= RUNS; no++) {
    const output = spoolFolder(home, PRINCIPAL, runIdOf(no));
    mkdirSync(output);
    writeFileSync(join(output, '1.0000000000000000'), `output of ${no}`);
  }
  return readFileSync(journalFile(home));
}

/** One kind of disk damage, placed at a share of the entries' length. */
const share = fc.double({ min: 0, max: 1, noNaN: true });
const harm = fc.oneof(
  fc.record({ what: fc.constant('flip' as const), at: share, bit: fc.nat(7) }),
  fc.record({ what: fc.constant('zero' as const), at: share, length: fc.integer({ min: 1, max: 5000 }) }),
  fc.record({ what: fc.constant('truncate' as const), at: share }),
  fc.record({ what: fc.constant('duplicate' as const), at: share, from: share, block: fc.constantFrom(16, 512, 4096) }),
);
type Harm = typeof harm extends fc.Arbitrary<infer T> ? T : never;

function damage(whole: Buffer, end: number, harms: readonly Harm[]): Buffer {
  let file = Buffer.from(whole);
  for (const each of harms) {
    const at = Math.min(Math.floor(each.at * end), file.length - 1);
    if (at < 0) continue;
    if (each.what === 'flip') file[at]! ^= 1 << each.bit;
    else if (each.what === 'zero') file.fill(0, at, Math.min(at + each.length, file.length));
    else if (each.what === 'truncate') file = file.subarray(0, at);
    else {
      const { block } = each;
      const source = Math.floor((each.from * end) / block) * block;
      const target = Math.floor(at / block) * block;
      file.subarray(source, source + block).copy(file, target);
    }
  }
  return file;
}

/** The place of a run's output: with the run, or set aside. */
function outputOf(no: number): string | undefined {
  const name = spoolFolderName(PRINCIPAL, runIdOf(no));
  const places = [spoolRoot(home), ...setAsideFolders(home).map((each) => join(each, 'spool'))];
  const file = places.map((place) => join(place, name, '1.0000000000000000')).find((path) => existsSync(path));
  return file && readFileSync(file, 'utf8');
}

describe('a damaged journal', () => {
  test.each(['boot', 'next boot'])(
    'reports nothing false, keeps all output and the damaged file, and gets a new epoch: %s',
    (bootId) => {
      fc.assert(
        fc.property(fc.array(harm, { minLength: 1, maxLength: 3 }), (harms) => {
          rmSync(folder, { recursive: true, force: true });
          mkdirSync(spoolRoot(home), { recursive: true });
          const whole = writeWhole();
          const { end, entries: sound } = readJournal(whole);
          const epoch = Buffer.from((sound[0] as { epoch: Uint8Array }).epoch);
          const file = damage(whole, end, harms);
          writeFileSync(journalFile(home), file);
          const { journal, entries: found } = Journal.open(journalFile(home), bootId, new SetAside(home));
          const { runs } = historyOf(found);
          journal.append({ kind: 'keeper', bootId, pid: 2, startMs: 2 });
          journal.close();
          for (const { intent, exit } of runs) {
            expect(Buffer.from(intent.runId)).toEqual(runIdOf(intent.no));
            if (exit) expect(exit.exit.code).toBe(intent.no);
          }
          for (let no = 1; no <= RUNS; no++) expect(outputOf(no)).toBe(`output of ${no}`);
          // The rewritten journal is sound, says the same, and needs no second repair.
          const again = Journal.open(journalFile(home), bootId, new SetAside(home));
          expect(historyOf(again.entries).runs).toEqual(runs);
          expect(again.journal.epoch).toEqual(journal.epoch);
          again.journal.close();
          const kept = setAsideFolders(home);
          if (runs.length < RUNS) expect(kept).toHaveLength(1);
          if (kept.length) {
            expect(readFileSync(join(kept[0]!, 'journal')).equals(file)).toBe(true);
            expect(journal.epoch).not.toEqual(epoch);
          }
        }),
        { numRuns: 100 },
      );
    },
  );

  test('one flipped bit costs one run at most', () => {
    const whole = writeWhole();
    const { end } = readJournal(whole);
    fc.assert(
      fc.property(fc.nat(end - 1), fc.nat(7), (at, bit) => {
        const file = Buffer.from(whole);
        file[at]! ^= 1 << bit;
        const { entries: found, broken, torn } = readJournal(file);
        expect(broken || torn).toBe(true);
        expect(historyOf(found).runs.length).toBeGreaterThanOrEqual(RUNS - 1);
      }),
      { numRuns: 500 },
    );
  });

  test('a lost piece in the middle costs the runs on it, and no others', () => {
    const whole = writeWhole();
    const { end } = readJournal(whole);
    const file = Buffer.from(whole).fill(0, Math.floor(end / 3), Math.floor(end / 2));
    const { entries: found, broken } = readJournal(file);
    const lost = RUNS - historyOf(found).runs.length;
    expect(broken).toBe(true);
    expect(lost).toBeGreaterThan(0);
    expect(lost).toBeLessThan(RUNS / 2);
  });

  test('a file without a sound entry is set aside, and a new journal begun', () => {
    writeFileSync(journalFile(home), 'some text');
    const { journal, entries: found } = Journal.open(journalFile(home), 'boot', new SetAside(home));
    journal.close();
    expect(found).toEqual([]);
    expect(readFileSync(join(setAsideFolders(home)[0]!, 'journal'), 'utf8')).toBe('some text');
  });

  test('without its journal, output is set aside; foreign files in the spool stay in place', () => {
    writeWhole();
    rmSync(journalFile(home));
    mkdirSync(join(spoolRoot(home), 'mail'));
    Journal.open(journalFile(home), 'boot', new SetAside(home)).journal.close();
    expect(readdirSync(spoolRoot(home))).toEqual(['mail']);
    expect(outputOf(7)).toBe('output of 7');
  });

  test('bytes that look like a long entry everywhere do not hold up the start', () => {
    const bytes = Buffer.alloc(4 * 1024 * 1024, Buffer.from([0, 0, 0xff, 3, 3]));
    expect(readJournal(bytes)).toMatchObject({ entries: [], torn: true });
  });
});

test('a keeper goes on with a damaged journal: sound runs and their output are there, it says what was set aside', async () => {
  await using keeper = await KeeperClient.start({}, join(folder, 'home'));
  const runs = ['one', 'two', 'three'].map((word) => keeper.exec('echo', word));
  for (const run of runs) await run.wait('TREE_END');
  const { epoch } = keeper.link;
  await keeper.end();
  const path = journalFile(keeper.home);
  const file = readFileSync(path);
  const before = readJournal(file).entries;
  const second = before.findIndex(
    (entry) => entry.kind === 'intent' && Buffer.compare(entry.runId, runs[1]!.runId) === 0,
  );
  file[encodeEntries(before.slice(0, second)).length + 20]! ^= 1;
  writeFileSync(path, file);

  await using next = await KeeperClient.start({}, keeper.home.state);
  expect(next.link.epoch).not.toEqual(epoch);
  const left = (await next.list()).map(({ runId, code }) => [Buffer.from(runId).toString('hex'), code]);
  expect(left).toHaveLength(2);
  for (const i of [0, 2]) expect(left).toContainEqual([Buffer.from(runs[i]!.runId).toString('hex'), 0]);
  const [kept, ...more] = setAsideFolders(next.home);
  expect(more).toEqual([]);
  const name = spoolFolderName(PRINCIPAL, runs[1]!.runId);
  expect(readFileSync(join(kept!, 'spool', name, '1.0000000000000000'), 'utf8')).toBe('two\n');
  await next.end();
});
