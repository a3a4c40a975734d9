/** Records as lines, their folding, and reading them back. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Folding } from '../../dist/log/folding.js';
import { EMPTY } from '../../dist/log/hashes.js';
import { LogFiles } from '../../dist/log/log-files.js';
import { linesFrom, linesOfRun } from '../../dist/log/reading.js';
import { lineOf, MAX_LINE, shownScript, shownWords } from '../../dist/log/records.js';

describe('a record', () => {
  const text = fc.string({ unit: 'binary', maxLength: 3000 });
  const words = fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 30 });

  test('is one line of JSON with its keys in order, whatever stands in it, and at most 64 KiB', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(4e12), text, text, words, (n, at, name, cwd, argv) => {
        // Given in another order than the line has.
        const line = lineOf(n, at, 'allow', { name, argv: shownWords(argv), cwd, run: 'r', rule: undefined });
        expect(line.length).toBeLessThanOrEqual(MAX_LINE);
        expect(line.includes('\n')).toBe(false);
        const record = JSON.parse(line.toString()) as Record<string, unknown>;
        expect(record).toMatchObject({ n, at: new Date(at).toISOString(), kind: 'allow', run: 'r' });
        if (!record.tooLong) expect(Object.keys(record)).toEqual(['n', 'at', 'kind', 'run', 'argv', 'cwd', 'name']);
        const [first] = argv;
        if (first && first.length < 2000 && !record.tooLong)
          expect((record.argv as string[])[0]).toBe(Buffer.from(first).toString());
      }),
    );
  });

  test('that would be longer keeps what names it', () => {
    const argv = Array.from({ length: 20_000 }, () => '\u0001');
    const line = JSON.parse(lineOf(7, 0, 'allow', { run: 'r', principal: 'p', argv }).toString()) as object;
    expect(line).toMatchObject({ n: 7, kind: 'allow', run: 'r', principal: 'p' });
    expect(line).toHaveProperty('tooLong');
  });

  test('has argv up to 2 KiB, and of shell text only its length and hash', () => {
    const shown = shownWords([Buffer.from('echo'), Buffer.alloc(5000, 'x'), Buffer.from('never')]);
    expect(shown).toEqual(['echo', 'x'.repeat(2048 - 5)]);
    expect(shownScript(Buffer.from('abc'))).toEqual({
      bytes: 3,
      sha256: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    });
  });
});

describe('folding', () => {
  test('tells the first at once and the rest together, for each kind of thing', () => {
    const told: unknown[] = [];
    const folding = new Folding((kind, record: { count?: unknown; code?: unknown }) => {
      told.push([kind, record.count, record.code]);
    });
    for (let i = 0; i < 7; i++) folding.add('a', 'refuse', { code: 'a' });
    folding.add('b', 'refuse', { code: 'b' });
    expect(told).toEqual([
      ['refuse', undefined, 'a'],
      ['refuse', undefined, 'b'],
    ]);
    folding.flush();
    expect(told.slice(2)).toEqual([['refuse', 6, 'a']]);
    folding.flush();
    expect(told).toHaveLength(3);
  });

  test('writes a bounded number of records, however many kinds there are', () => {
    let told = 0;
    const folding = new Folding(() => told++);
    for (let i = 0; i < 50_000; i++) folding.add(`key ${i}`, 'note', { what: 'x' });
    folding.flush();
    expect(told).toBeLessThan(1100);
  });
});

describe('reading', () => {
  let folder: string;
  const SIZE = 9000;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'log-reading-'));
    const files = LogFiles.open(join(folder, 'log'), { size: 0, root: EMPTY, first: 0, bytes: 0 });
    for (let n = 0; n < SIZE; n++)
      files.add([lineOf(n, n, 'allow', { run: `${n % 100 < 10 ? '0' : ''}${n % 100}`, argv: ['x'.repeat(2000)] })]);
    files.save();
    files.close();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const log = (): string => join(folder, 'log');
  const indexOf = (line: string): number => (JSON.parse(line) as { n: number }).n;

  test('gives all lines in order, a page at a time, and no line behind the size', () => {
    const seen: number[] = [];
    for (let from: number | undefined = 0; from !== undefined;) {
      const page = linesFrom(log(), from, SIZE - 5);
      seen.push(...page.lines.map(indexOf));
      from = page.next;
    }
    expect(seen).toEqual(Array.from({ length: SIZE - 5 }, (_, i) => i));
    expect(linesFrom(log(), SIZE, SIZE)).toEqual({ lines: [], next: undefined });
  });

  test('finds the lines of a run in every segment', () => {
    const seen: number[] = [];
    let pages = 0;
    for (let from: number | undefined = 0; from !== undefined; pages++) {
      const page = linesOfRun(log(), '42', from);
      seen.push(...page.lines.map(indexOf));
      from = page.next;
    }
    expect(pages).toBeGreaterThan(1);
    expect(seen).toEqual(Array.from({ length: SIZE / 100 }, (_, i) => i * 100 + 42));
    // More lines of a segment than a page takes.
    let lines = 0;
    for (let from: number | undefined = 0; from !== undefined;) {
      const page = linesOfRun(log(), '4', from);
      lines += page.lines.length;
      from = page.next;
    }
    expect(lines).toBe(SIZE / 10);
  });
});
