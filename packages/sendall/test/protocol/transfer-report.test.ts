/** What our own program reports of its files: the keeper hears what was said, and nothing that it could say does harm. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { Reporter, ReportReader, type Reported } from '../../dist/protocol/transfer-report.js';

const folder = mkdtempSync(join(tmpdir(), 'sendall-report-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a program writes. */
function written(act: (reporter: Reporter) => void): Buffer {
  const path = join(folder, 'report');
  const fd = openSync(path, 'w');
  try {
    act(new Reporter(fd));
  } finally {
    closeSync(fd);
  }
  return readFileSync(path);
}

/** What is heard of these bytes, in pieces. */
function heard(bytes: Buffer, piece = bytes.length || 1): Reported | undefined {
  const reader = new ReportReader();
  for (let at = 0; at < bytes.length && !reader.isOver; at += piece) reader.take(bytes.subarray(at, at + piece));
  return reader.reported;
}

const sha256 = 'ab'.repeat(32);
const file = fc.record({
  path: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  bytes: fc.nat(),
  sha256: fc.constant(sha256),
});

test('files and counts are heard however the bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(file, { maxLength: 20 }),
      fc.nat(9),
      fc.nat(9),
      fc.integer({ min: 1, max: 50 }),
      (files, same, failed, piece) => {
        const bytes = written((reporter) => {
          for (const each of files) reporter.placed(each.path, each.bytes, each.sha256);
          for (let i = 0; i < same; i++) reporter.same();
          for (let i = 0; i < failed; i++) reporter.failed();
          reporter.end();
        });
        const sum = files.reduce((total, each) => total + each.bytes, 0);
        const named = files.map((each) => ({ ...each, path: Buffer.from(each.path).toString('latin1') }));
        const nothing = !files.length && !same && !failed;
        expect(heard(bytes, piece)).toEqual(
          nothing ? undefined : { files: files.length, bytes: sum, same, failed, named },
        );
      },
    ),
  );
});

test('a thousand files are counted, and the first hundred named; without the end it is known what was told until then', () => {
  const tell = (reporter: Reporter): void => {
    for (let i = 0; i < 1000; i++) reporter.placed(Buffer.from(`/srv/${i}`), 10, sha256);
  };
  const whole = heard(
    written((reporter) => {
      tell(reporter);
      reporter.end();
    }),
  )!;
  expect(whole).toMatchObject({ files: 1000, bytes: 10_000 });
  expect(whole.named).toHaveLength(100);
  expect(heard(written(tell))).toMatchObject({ files: 768, bytes: 7680 });
});

test('long names are counted and not named', () => {
  const long = heard(
    written((reporter) => {
      for (let i = 0; i < 10; i++) reporter.placed(Buffer.alloc(4000, 1), 1, sha256);
      reporter.end();
    }),
  )!;
  expect(long.files).toBe(10);
  expect(long.named.length).toBeLessThan(10);
});

test('a reporter whose keeper has gone says nothing and goes on', () => {
  const reporter = new Reporter(999_999);
  reporter.placed(Buffer.from('/x'), 1, sha256);
  reporter.end();
});

test('any bytes are a report or none, of bounded size', () => {
  const line = fc.oneof(
    fc.json(),
    fc.string(),
    fc.constantFrom(
      '{"path":"\u0100","bytes":1,"sha256":""}',
      '{"files":-1,"bytes":0,"same":0,"failed":0}',
      '[]',
      'null',
    ),
    fc.constant(`{"path":"/x","bytes":1e99,"sha256":"${sha256}"}`),
  );
  fc.assert(
    fc.property(fc.array(line), fc.uint8Array(), (lines, more) => {
      const reported = heard(Buffer.concat([Buffer.from(`${lines.join('\n')}\n`), Buffer.from(more)]));
      expect(reported?.named ?? []).toEqual([]);
    }),
  );
  const reader = new ReportReader();
  for (let i = 0; i < 1000 && !reader.isOver; i++) reader.take(Buffer.alloc(1024, 0x61));
  expect(reader.isOver).toBe(true);
  const many = new ReportReader();
  const named = Buffer.from(`{"path":"/x","bytes":1,"sha256":"${sha256}"}\n`);
  for (let i = 0; i < 1000 && !many.isOver; i++) many.take(named);
  expect(many.isOver).toBe(true);
  expect(many.reported!.named).toHaveLength(100);
});
