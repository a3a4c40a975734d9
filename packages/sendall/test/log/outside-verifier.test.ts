/** Go's checksum database checks a log of ours: a program over its packages sumdb/note and sumdb/tlog. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { logKeyOf, newLogKey, signCheckpoint } from '../../dist/log/checkpoint.js';
import { EMPTY, hashBase64 } from '../../dist/log/hashes.js';
import { firstOf } from '../../dist/log/layout.js';
import { LogFiles, openHashes } from '../../dist/log/log-files.js';
import { lineOf } from '../../dist/log/records.js';
import { consistencyProof, inclusionProof } from '../../dist/log/stored-hashes.js';

/** Where Debian has the sources of Go's packages. */
const GOPATH = '/usr/share/gocode';
const program = fileURLToPath(new URL('../fixtures/verify-log.go', import.meta.url));
const SIZE = 1000;
const ORIGIN = 'sendall-log/test/0123456789abcdef';

let folder: string;
let verifier: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'outside-'));
  verifier = join(folder, 'verify-log');
  const env = { ...process.env, GOPATH, GO111MODULE: 'off', GOCACHE: join(folder, 'cache'), GOFLAGS: '' };
  execFileSync('go', ['build', '-o', verifier, program], { env, stdio: 'pipe' });
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ask = (question: object): string => {
  try {
    return execFileSync(verifier, { input: JSON.stringify(question), encoding: 'utf8' }).trim();
  } catch (error) {
    return (error as { stdout: string }).stdout.trim();
  }
};

test('Go agrees on checkpoint, stored hashes, inclusion and consistency, and finds a forged one of each', () => {
  const log = join(folder, 'log');
  const files = LogFiles.open(log, { size: 0, root: EMPTY, first: 0, bytes: 0 });
  const records = Array.from({ length: SIZE }, (_, n) => lineOf(n, n, 'start', { run: `run ${n}`, pid: n }));
  files.add(records);
  files.save();
  const { size, root } = files.sync();
  files.close();
  const hashes = openHashes(log);
  const pem = newLogKey();
  const sizes = [1, 2, 3, 7, 8, 64, 511, 512, 777, SIZE];
  const inclusion = sizes.flatMap((of) =>
    [0, Math.floor(of / 2), of - 1].map((index) => ({
      index,
      size: of,
      proof: inclusionProof(index, of, (place) => hashes.read(place)).map(hashBase64),
    })),
  );
  const consistency = sizes.flatMap((after) =>
    sizes
      .filter((before) => before <= after)
      .map((before) => ({
        before,
        after,
        proof: consistencyProof(before, after, (place) => hashes.read(place)).map(hashBase64),
      })),
  );
  hashes.close();
  const question = {
    key: logKeyOf(ORIGIN, pem).text,
    checkpoint: signCheckpoint({ origin: ORIGIN, size, root }, pem),
    lines: readdirSync(log)
      .filter((name) => firstOf(name) !== undefined)
      .sort()
      .map((name) => join(log, name)),
    hashes: join(log, 'hashes'),
    inclusion,
    consistency,
  };
  expect(ask(question)).toBe('ok');

  const another = signCheckpoint({ origin: ORIGIN, size, root }, newLogKey());
  expect(ask({ ...question, checkpoint: another })).toContain('checkpoint');
  expect(ask({ ...question, checkpoint: signCheckpoint({ origin: ORIGIN, size, root: EMPTY }, pem) })).toContain(
    'root',
  );
  const [first, ...others] = inclusion.filter(({ proof }) => proof.length);
  const wrong = { ...first!, proof: [hashBase64(EMPTY), ...first!.proof.slice(1)] };
  expect(ask({ ...question, inclusion: [wrong, ...others] })).toContain('inclusion of');
  const longer = consistency.find(({ proof }) => proof.length > 2)!;
  const forged = { ...longer, proof: [...longer.proof.slice(1), longer.proof[0]!] };
  expect(ask({ ...question, consistency: [forged] })).toContain('consistency of');
});
