import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as rest } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Run } from 'sendall';
import { fleetOf, oneHost, sha256 } from './support.js';
import { until } from '../../../../test/support/waits.js';

const MiB = 1024 * 1024;
const SIZE = 200 * MiB;
let folder: string;
let file: string;
let digest: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sendall-volume-'));
  file = join(folder, 'random');
  const bytes = randomBytes(SIZE);
  digest = sha256(bytes);
  writeFileSync(file, bytes);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function digestOf(run: Run): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of run.stdout) hash.update(chunk as Buffer);
  await run;
  return hash.digest('hex');
}

test('200 MiB of random bytes arrive unchanged over a link that is cut now and then', async () => {
  const { fleet, host } = await oneHost({ faults: { cutEvery: 8 * MiB, seed: 2 }, firstPause: 1 });
  expect(await digestOf(host.run(['cat', file], { spoolMax: 300 * MiB }))).toBe(digest);
  expect(fleet.links).toBeGreaterThan(5);
});

test('200 MiB of stdin arrive unchanged', async () => {
  const { host } = await oneHost({ faults: { cutEvery: 16 * MiB, seed: 2 }, firstPause: 1 });
  const run = host.run(['sha256sum'], { stdin: createReadStream(file) });
  expect((await run).stdout).toBe(`${digest}  -\n`);
});

test('fifty runs at once bring back 200 MiB together, each its own bytes', async () => {
  const fleet = await fleetOf(5, { faults: { cutEvery: 2 * MiB, seed: 9 }, firstPause: 1 });
  const part = SIZE / 50;
  const results = await Promise.all(
    Array.from({ length: 50 }, async (_, i) => {
      const run = fleet.hosts[i % 5]!.sh(`tail -c +${i * part + 1} "${file}" | head -c ${part}`);
      return (await run).raw.stdout;
    }),
  );
  expect(sha256(Buffer.concat(results))).toBe(digest);
});

test('a slow reader slows the command, and loses nothing', async () => {
  const { fleet, host } = await oneHost();
  const run = host.run(['cat', file], { spoolMax: 4 * MiB });
  const reader = run.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const hash = createHash('sha256');
  let got = 0;
  for (; got < MiB;) {
    const { value } = await reader.next();
    hash.update(value);
    got += value.length;
  }
  await until(async () => {
    for await (const each of host.runs()) if (each.runId === run.runId) return each.blocked === 'stdout';
    return false;
  }, 'the command to wait');
  fleet.cut();
  await rest(20);
  for (let next = await reader.next(); !next.done; next = await reader.next()) hash.update(next.value);
  expect(hash.digest('hex')).toBe(digest);
  expect((await run).outcome).toBe('ok');
});

test('a reader that stops reading ends the command by SIGPIPE', async () => {
  const { host } = await oneHost();
  const run = host.run(['yes'], { reject: false });
  for await (const _ of run.stdout) break;
  expect(await run).toMatchObject({ outcome: 'signalled', signal: 'SIGPIPE' });
});

test('in exact capture every record before a gap is unchanged; later ones are dropped and reported', async () => {
  const { host } = await oneHost();
  const run = host.run(['sh', '-c', 'yes 0123456789abcdef | head -c 50000000'], {
    capture: 'exact',
    overflow: 'drop-old',
    spoolMax: 16 * 1024 * 1024,
    reject: false,
  });
  const records = run.records()[Symbol.asyncIterator]();
  await records.next();
  // Nothing is read meanwhile.
  await run.exited;
  for (let record = await records.next(); !record.done; record = await records.next())
    expect(record.value.bytes.every((byte) => byte === 0x0a || (byte >= 0x30 && byte <= 0x66))).toBe(true);
  const { outcome, gaps } = await run;
  expect(outcome).toBe('truncated');
  expect(gaps).not.toEqual([]);
  expect(host.resumes).toBe(0);
});
