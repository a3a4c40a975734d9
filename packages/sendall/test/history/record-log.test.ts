/** The file of records: what was written whole is read, whatever happened to the rest of the file. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  closeSync,
  openSync,
  writeSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RecordLog } from '../../dist/files/record-log.js';
import { within } from '../../../../test/support/waits.js';

const APPEND = fileURLToPath(new URL('../dist/append-records.js', import.meta.url));

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'record-log-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let made = 0;
const fresh = (): RecordLog => new RecordLog(join(folder, `${++made}.jsonl`));
const records = fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { minLength: 1, maxLength: 8 });
/** As JSON gives them back: -0 becomes 0. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

function written(all: readonly object[]): RecordLog {
  const log = fresh();
  for (const record of all) log.append(record);
  log.close();
  return log;
}

test('records are read in the order in which they were appended', () => {
  fc.assert(
    fc.property(records, (all) => {
      expect(written(all).read()).toEqual({ records: plain(all), damaged: 0 });
    }),
  );
});

test('a file that was cut anywhere has all records but the one that was cut, and that one is not counted', () => {
  fc.assert(
    fc.property(records, fc.nat(), (all, place) => {
      const log = written(all);
      const size = readFileSync(log.path).length;
      const cut = place % size;
      truncateSync(log.path, cut);
      const whole = all.filter((_, i) => readFileSync(written(all.slice(0, i + 1)).path).length <= cut);
      expect(log.read()).toEqual({ records: plain(whole), damaged: 0 });
    }),
    { numRuns: 50 },
  );
});

test('records behind a torn one are whole', () => {
  fc.assert(
    fc.property(records, records, fc.integer({ min: 1 }), (all, later, torn) => {
      const log = written(all);
      const text = JSON.stringify(all[0]);
      appendFileSync(log.path, `\n${text.slice(0, 1 + (torn % Math.max(1, text.length - 1)))}`);
      const { damaged, records: before } = log.read();
      for (const record of later) log.append(record);
      log.close();
      const after = log.read();
      expect(damaged).toBe(0);
      expect(after.records).toEqual([...before, ...(plain(later) as unknown[])]);
      expect(after.damaged).toBe(1);
    }),
  );
});

test('any bytes between records damage no record, and are counted', () => {
  fc.assert(
    fc.property(records, records, fc.uint8Array({ minLength: 1, maxLength: 40 }), (all, later, noise) => {
      const log = written(all);
      appendFileSync(log.path, Buffer.concat([Buffer.from('\n\u0001'), noise]));
      for (const record of later) log.append(record);
      log.close();
      const { records: found, damaged } = log.read();
      expect(found.slice(0, all.length)).toEqual(plain(all));
      expect(found.slice(-later.length)).toEqual(plain(later));
      expect(damaged).toBeGreaterThanOrEqual(1);
    }),
  );
});

test('what is no file, or is not there, has no records', () => {
  expect(new RecordLog(join(folder, 'absent')).read()).toEqual({ records: [], damaged: 0 });
  expect(new RecordLog(folder).read().records).toEqual([]);
  writeFileSync(join(folder, 'elsewhere'), '\n{"a":1}');
  symlinkSync(join(folder, 'elsewhere'), join(folder, 'link'));
  const link = new RecordLog(join(folder, 'link'));
  expect(link.read().records).toEqual([]);
  expect(() => link.append({ b: 2 })).toThrow('ELOOP');
  expect(readFileSync(join(folder, 'elsewhere'), 'utf8')).toBe('\n{"a":1}');
});

test('a replacement keeps what was appended while it was made, and writers with the old file open follow it', () => {
  const log = written([{ n: 1 }, { n: 2 }]);
  const other = new RecordLog(log.path);
  other.append({ n: 3 });
  log.replace((all) => {
    other.append({ n: 4 });
    return all.slice(1);
  });
  other.append({ n: 5 });
  other.close();
  expect(log.read()).toEqual({ records: [2, 3, 4, 5].map((n) => ({ n })), damaged: 0 });
});

test('a replacement that sees a part of a record, which is still being written, spoils no other and counts none', () => {
  const record = `\n${JSON.stringify({ n: 3 })}`;
  for (let seen = 0; seen <= record.length; seen++) {
    const log = written([{ n: 1 }, { n: 2 }]);
    appendFileSync(log.path, record.slice(0, seen));
    const old = openSync(log.path, 'a');
    log.replace((all) => {
      writeSync(old, record.slice(seen));
      return all;
    });
    closeSync(old);
    log.append({ n: 4 });
    log.close();
    expect([seen, log.read()]).toEqual([seen, { records: [1, 2, 3, 4].map((n) => ({ n })), damaged: 0 }]);
  }
});

test('a replacement leaves out a part of a record that is still being written: its writer writes it again', () => {
  const record = `\n${JSON.stringify({ n: 3 })}`;
  for (let seen = 0; seen < record.length; seen++) {
    const log = written([{ n: 1 }, { n: 2 }]);
    log.replace((all) => {
      appendFileSync(log.path, record.slice(0, seen));
      return all;
    });
    log.append({ n: 3 });
    log.close();
    expect([seen, log.read()]).toEqual([seen, { records: [1, 2, 3].map((n) => ({ n })), damaged: 0 }]);
  }
});

test('four processes append while the file is replaced again and again: every record is there', async () => {
  const log = fresh();
  const COUNT = 400;
  const writers = ['a', 'b', 'c', 'd'];
  const children = writers.map((writer) =>
    spawn(process.execPath, [APPEND, log.path, writer, String(COUNT)], { stdio: ['ignore', 'pipe', 'inherit'] }),
  );
  const ends = children.map(async (child) => (await once(child, 'exit')) as [number | null]);
  await within(Promise.all(children.map(async ({ stdout }) => await once(stdout, 'data'))), 'the first records');
  do {
    log.replace((found) => found);
    await new Promise((turn) => setImmediate(turn));
  } while (children.some(({ exitCode, signalCode }) => exitCode === null && signalCode === null));
  expect(await within(Promise.all(ends), 'the writers')).toEqual(writers.map(() => [0, null]));
  const { records: found, damaged } = log.read();
  expect(damaged).toBe(0);
  const seen = new Set(
    (found as { writer: string; number: number }[]).map(({ writer, number }) => `${writer} ${number}`),
  );
  expect(seen.size).toBe(writers.length * COUNT);
});
