import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { spooledRange, SpoolReader, SpoolWriter } from '../../dist/keeper/output/spool.js';
import { KeeperClient } from './keeper-client.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'spool-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const KiB = 1024;
const STREAM = 1;
/** The byte for an offset, so that a misplaced one shows. */
const pattern = (from: number, length: number) =>
  Buffer.from(Array.from({ length }, (_, i) => ((from + i) * 31 + ((from + i) >> 8)) & 0xff));
const size = () => readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);

test('writing, dropping and reading in any order returns the right bytes for an offset, or reports them gone', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('append' as const), length: fc.integer({ min: 1, max: 200 * KiB }) }),
    fc.record({ do: fc.constant('drop' as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
    fc.record({ do: fc.constant('divide' as const) }),
    fc.record({ do: fc.constant('rest' as const) }),
    fc.record({
      do: fc.constant('read' as const),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
      now: fc.boolean(),
    }),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4096 * KiB }),
      fc.array(step, { maxLength: 40 }),
      async (spoolMax, steps) => {
        rmSync(folder, { recursive: true, force: true });
        const writer = new SpoolWriter(folder, STREAM, spoolMax);
        const reader = new SpoolReader(folder, STREAM);
        for (const each of steps) {
          if (each.do === 'append') writer.append(pattern(writer.next, each.length));
          else if (each.do === 'divide') writer.divide();
          else if (each.do === 'rest') writer.rest();
          else if (each.do === 'drop') {
            const to = Math.floor(writer.next * each.part);
            const before = writer.first;
            expect(writer.dropBelow(to)).toBe(writer.first - before);
            expect(writer.first).toBeLessThanOrEqual(Math.max(to, before));
          } else {
            const offset = Math.floor((writer.next - 1) * each.part);
            if (writer.next === 0) continue;
            const into = Buffer.alloc(100 * KiB);
            const read = async () =>
              each.now ? into.subarray(0, reader.readNow(offset, into)) : await reader.read(offset, into.length);
            if (offset < writer.first) await expect(read()).rejects.toMatchObject({ code: 'TRIMMED' });
            else {
              const bytes = await read();
              expect(bytes.length).toBeGreaterThan(0);
              expect(bytes.equals(pattern(offset, bytes.length))).toBe(true);
            }
          }
          if (writer.next > writer.first)
            expect(spooledRange(folder, STREAM)).toEqual({ first: writer.first, next: writer.next });
        }
        writer.rest();
        await reader.close();
      },
    ),
    { numRuns: 60 },
  );
});

test('a reader inside a removed segment learns where the next bytes are', async () => {
  const writer = new SpoolWriter(folder, STREAM, 512 * KiB);
  const reader = new SpoolReader(folder, STREAM);
  writer.append(pattern(0, 200 * KiB));
  expect((await reader.read(0, 10)).equals(pattern(0, 10))).toBe(true);
  writer.dropBelow(128 * KiB);
  await expect(reader.read(10, 10)).rejects.toMatchObject({ code: 'TRIMMED', first: 128 * KiB });
  expect((await reader.read(128 * KiB, 10)).equals(pattern(128 * KiB, 10))).toBe(true);
  await reader.close();
});

test('a small spool takes little more than its size on the disk, for any amount of output', () => {
  const writer = new SpoolWriter(folder, STREAM, 1024 * KiB);
  for (let i = 0; i < 400; i++) {
    writer.append(pattern(writer.next, 100 * KiB));
    writer.dropBelow(writer.next - 1024 * KiB);
    expect(size()).toBeLessThan(1200 * KiB + 100 * KiB);
  }
});

test('acknowledged bytes may go to the last one, even in the file being written', () => {
  const writer = new SpoolWriter(folder, STREAM, 1024 * KiB);
  writer.append(pattern(0, 1000));
  expect(writer.dropBelow(1000)).toBe(1000);
  expect(size()).toBe(0);
  writer.append(pattern(1000, 10));
  expect(spooledRange(folder, STREAM)).toEqual({ first: 1000, next: 1010 });
});

describe('runs that keep little', () => {
  test('with less shared room than output, each goes on as its output is taken', async () => {
    await using keeper = await KeeperClient.start({ limits: { spoolTotal: 3 * 1024 * KiB } });
    const runs = Array.from({ length: 3 }, () => keeper.sh('head -c 20000000 /dev/zero; exit 3'));
    await Promise.all(
      runs.map(async (run) => {
        for (let have = 0; have < 20_000_000; have = run.next(1)) {
          await run.reaches(1, have + 1);
          run.send({ type: 'ACK', stream: 1, durable: run.next(1) });
        }
        expect(await run.exit).toMatchObject({ code: 3 });
      }),
    );
  });
});
