/** A log of 10,000 records, altered in every way: what was done is named, against a head that was kept. */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { EMPTY, HASH_SIZE, type Hash } from '../../dist/log/hashes.js';
import { firstOf, HASHES } from '../../dist/log/layout.js';
import { LogFiles, type Mark } from '../../dist/log/log-files.js';
import { lineOf } from '../../dist/log/records.js';
import { folderSource } from '../../dist/log/source.js';
import { storedCount } from '../../dist/log/stored-hashes.js';
import { verifyLog, type Problem } from '../../dist/log/verification.js';

const SIZE = 10_000;
const NOTHING: Mark = { size: 0, root: EMPTY, first: 0, bytes: 0 };

let folder: string;
let whole: string;
let log: string;
let root: Hash;
/** The roots at some sizes. */
const roots = new Map<number, Hash>();

/** Lines of about a kilobyte, so that they fill two segments. */
const record = (n: number, word = 'x'): Buffer =>
  lineOf(n, n, 'allow', { run: `run ${n}`, argv: [word.repeat(500), word.repeat(480)] });

function write(into: string, lines: readonly Buffer[]): Hash {
  const files = LogFiles.open(into, NOTHING);
  for (let at = 0; at < lines.length; at += 1000) {
    files.add(lines.slice(at, at + 1000));
    files.save();
    if (into === whole) roots.set(files.size, files.root);
  }
  const mark = files.sync();
  files.close();
  return mark.root;
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'verify-'));
  whole = join(folder, 'whole');
  root = write(
    whole,
    Array.from({ length: SIZE }, (_, n) => record(n)),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  log = join(folder, 'log');
  rmSync(log, { recursive: true, force: true });
  cpSync(whole, log, { recursive: true });
});

const segments = (): string[] => readdirSync(log).filter((name) => firstOf(name) !== undefined);

/** Changes the lines of the segment that holds the record `index`, which stands at `at` there. */
function edit(index: number, change: (lines: string[], at: number) => void): void {
  const name = segments()
    .sort()
    .findLast((each) => firstOf(each)! <= index)!;
  const lines = readFileSync(join(log, name), 'latin1').split('\n');
  lines.pop();
  change(lines, index - firstOf(name)!);
  writeFileSync(join(log, name), lines.map((line) => `${line}\n`).join(''), 'latin1');
}

const verify = async (size = SIZE, kept = root) =>
  await verifyLog(folderSource(log), [{ pin: 'kept', size, root: kept }]);
const named = async (): Promise<readonly Problem[]> => {
  const { ok, problems } = await verify();
  expect(ok).toBe(problems.length === 0);
  return problems;
};

const index = fc.nat(SIZE - 2);
const RUNS = { numRuns: 6 };
/** Cuts, moves and flips on random records; each one from a fresh copy. */
const each = async (property: (at: number, other: number) => Promise<void>): Promise<void> =>
  await fc.assert(
    fc.asyncProperty(index, index, async (at, other) => {
      rmSync(log, { recursive: true, force: true });
      cpSync(whole, log, { recursive: true });
      await property(at, other);
    }),
    RUNS,
  );

describe('a log of 10,000 records', () => {
  test('as it was written has nothing wrong, at any head', async () => {
    expect(segments().length).toBeGreaterThan(1);
    expect(await verify()).toMatchObject({ ok: true, size: SIZE, root, checked: SIZE, problems: [] });
    for (const [size, kept] of roots) expect((await verify(size, kept)).against[0]!.consistent).toBe(true);
  });

  test('a flipped bit is named', async () => {
    await each(async (at, bit) => {
      edit(at, (lines, i) => {
        const place = bit % lines[i]!.length;
        // Not a newline, which would make two lines of one.
        const letter = String.fromCodePoint(lines[i]!.codePointAt(place)! ^ (1 << (bit % 3) || 1));
        lines[i] = lines[i]!.slice(0, place) + letter + lines[i]!.slice(place + 1);
      });
      expect(await named()).toEqual([{ index: at, kind: 'flip' }]);
    });
  });

  test('a deleted record is named', async () => {
    await each(async (at) => {
      edit(at, (lines, i) => lines.splice(i, 1));
      const [first, ...more] = await named();
      expect(more).toEqual([]);
      expect(first!.index).toBe(at);
      // The last of its segment leaves no trace behind it.
      expect(['deletion', 'truncation']).toContain(first!.kind);
    });
  });

  test('an inserted record is named', async () => {
    await each(async (at) => {
      edit(at, (lines, i) => lines.splice(i, 0, record(at, 'y').toString()));
      expect(await named()).toEqual([{ index: at, kind: 'insertion' }]);
      edit(at, (lines, i) => lines.splice(i, 1, lines[i + 2] ?? lines[0]!));
      expect((await named())[0]).toEqual({ index: at, kind: 'insertion' });
    });
    rmSync(log, { recursive: true });
    cpSync(whole, log, { recursive: true });
    edit(SIZE - 1, (lines, i) => lines.splice(i + 1, 0, record(SIZE).toString()));
    expect((await named()).at(-1)).toEqual({ index: SIZE, kind: 'insertion' });
  });

  test('two records that changed places are named', async () => {
    await each(async (at) => {
      let swapped = at;
      edit(at, (lines, i) => {
        const from = Math.min(i, lines.length - 2);
        swapped = at - (i - from);
        lines.splice(from, 2, lines[from + 1]!, lines[from]!);
      });
      expect(await named()).toEqual([{ index: swapped, kind: 'reorder' }]);
    });
  });

  test('records cut off at the end are named, with their hashes and without', async () => {
    await each(async (at) => {
      edit(at, (lines, i) => lines.splice(i));
      for (const name of segments()) if (firstOf(name)! > at) rmSync(join(log, name));
      expect((await named())[0]).toEqual({ index: at, kind: 'truncation' });
      truncateSync(join(log, 'hashes'), storedCount(at) * HASH_SIZE);
      const { against, problems } = await verify();
      expect(problems).toEqual([{ index: at, kind: 'truncation' }]);
      expect(against).toEqual([{ pin: 'kept', size: SIZE, consistent: false }]);
    });
  });

  test('another history that is sound in itself is a fork', async () => {
    const other = join(folder, 'other');
    write(
      other,
      Array.from({ length: SIZE + 10 }, (_, n) => record(n, n === 7777 ? 'y' : 'x')),
    );
    log = other;
    expect(await named()).toEqual([{ index: SIZE, kind: 'fork' }]);
    // Up to a head before it the two are the same.
    expect(await verify(7000, roots.get(7000)!)).toMatchObject({ ok: true });
    rmSync(other, { recursive: true });
  });

  test('a missing segment is named, the first one too', async () => {
    const [first, second] = segments().sort();
    renameSync(join(log, first!), join(folder, 'first'));
    expect(await named()).toEqual([{ index: 0, kind: 'missing-segment' }]);
    renameSync(join(folder, 'first'), join(log, first!));
    rmSync(join(log, second!));
    expect((await named())[0]).toEqual({ index: firstOf(second!), kind: 'truncation' });
  });

  test('a link or a folder in the place of a file is an error in words', async () => {
    for (const name of [HASHES, segments()[0]!]) {
      const path = join(log, name);
      for (const replace of [() => symlinkSync(join(whole, name), path), () => mkdirSync(path)]) {
        rmSync(path, { recursive: true });
        replace();
        await expect(verify()).rejects.toMatchObject({ code: 'LOG', message: expect.stringContaining(path) });
      }
      rmSync(path, { recursive: true });
      cpSync(join(whole, name), path);
    }
    expect(await named()).toEqual([]);
  });

  test('damaged hashes are told from damaged lines: the kept head decides', async () => {
    const path = join(log, 'hashes');
    const bytes = readFileSync(path);
    const at = storedCount(1234) * HASH_SIZE;
    bytes[at + 5]! ^= 1;
    writeFileSync(path, bytes);
    const { problems, against } = await verify();
    expect(problems).toEqual([{ index: 1234, kind: 'hash' }]);
    expect(against[0]!.consistent).toBe(true);
  });

  test('dropped lines are no damage if the log says so', async () => {
    const dropped = join(folder, 'dropped');
    const lines = Array.from({ length: SIZE }, (_, n) => record(n));
    const files = LogFiles.open(dropped, NOTHING);
    files.add(lines);
    files.save();
    files.sync();
    const without = files.dispensable(1024 * 1024)!;
    files.prune(without);
    files.add([lineOf(SIZE, SIZE, 'note', { what: 'pruned', size: without })]);
    files.save();
    const mark = files.sync();
    files.close();
    log = dropped;
    expect(await verify(mark.size, mark.root)).toMatchObject({ ok: true, size: SIZE + 1, checked: SIZE + 1 - without });
    expect(await verify()).toMatchObject({ ok: true });
    rmSync(dropped, { recursive: true });
  });
});
