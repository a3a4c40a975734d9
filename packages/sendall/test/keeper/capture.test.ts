/** Captures that tell single writes apart: `exact` (pipes in packet mode) and `ordered` (datagram sockets). */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytes, KeeperClient } from './keeper-client.js';
import { until } from '../../../../test/support/waits.js';

const RECORDS = 4;
/** In the byte that names the stream: the order between the streams is that of reading. */
const AS_READ = 0x80;

let keeper: KeeperClient;
let folder: string;
beforeAll(async () => {
  keeper = await KeeperClient.start();
  folder = mkdtempSync(join(tmpdir(), 'capture-'));
});
afterAll(async () => {
  await keeper[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

interface Record {
  readonly stream: number;
  readonly us: number;
  readonly bytes: Buffer;
}

function parse(log: Buffer): Record[] {
  const records: Record[] = [];
  for (let at = 0; at < log.length;) {
    const end = at + 4 + log.readUInt32BE(at);
    records.push({ stream: log[at + 4]!, us: log.readUIntBE(at + 5, 6), bytes: log.subarray(at + 11, end) });
    at = end;
  }
  return records;
}

describe('ordered capture', () => {
  test('keeps every write unchanged, labelled, in the true order of both streams', async () => {
    const program = [
      'import os, sys',
      'for i in range(2000):',
      '    os.write(1, b"o%d" % i)',
      '    os.write(2, b"e%d" % i)',
    ].join('\n');
    const run = keeper.open({ argv: ['python3', '-c', program].map(bytes), capture: 'ordered' });
    const records = parse(await run.output(RECORDS));
    expect(records.map(({ stream, bytes: b }) => `${stream}${b.toString()}`)).toEqual(
      Array.from({ length: 2000 }, (_, i) => [`1o${i}`, `2e${i}`]).flat(),
    );
    expect(records.every(({ us }, i) => i === 0 || us >= records[i - 1]!.us)).toBe(true);
  });

  test('a long write is one record', async () => {
    const run = keeper.open({
      argv: ['python3', '-c', 'import os; os.write(1, b"x" * 100000)'].map(bytes),
      capture: 'ordered',
    });
    expect(parse(await run.output(RECORDS)).map(({ bytes: b }) => b.length)).toEqual([100_000]);
  });

  test('a slow reader slows the command, and nothing is lost', async () => {
    const run = keeper.sh('i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done', {
      capture: 'ordered',
      spoolMax: 10_000,
    });
    while (!run.find('EXIT')) {
      const next = run.next(RECORDS);
      run.send({ type: 'ACK', stream: RECORDS, durable: next });
      await until(() => run.next(RECORDS) > next || run.find('EXIT') !== undefined, 'more');
    }
    const text = parse(await run.output(RECORDS)).map(({ bytes: b }) => b.toString());
    expect(text).toEqual(Array.from({ length: 3000 }, (_, i) => `${i}\n`));
  });

  test('what a background child writes later follows, until the tree has ended', async () => {
    const run = keeper.sh('echo now; (sleep 0.2; echo late >&2) &', { capture: 'ordered' });
    await run.exit;
    const { final } = await run.wait('EOS');
    const records = parse(await run.read(RECORDS, 0, final));
    expect(records.map(({ stream, bytes: b }) => [stream, b.toString()])).toEqual([
      [1, 'now\n'],
      [2, 'late\n'],
    ]);
  });
});

describe('exact capture', () => {
  const capture = 'exact';
  const python = (program: string) => keeper.open({ argv: ['python3', '-c', program].map(bytes), capture });

  /** The bytes of each stream's records. */
  const writes = async (run: ReturnType<typeof python>) => {
    const records = parse(await run.output(RECORDS));
    expect(records.every(({ stream }) => stream & AS_READ)).toBe(true);
    const of = (stream: number) =>
      records.filter((record) => record.stream === (stream | AS_READ)).map((record) => record.bytes.toString('latin1'));
    return { stdout: of(1), stderr: of(2) };
  };

  test('keeps every write unchanged, labelled and in order within its stream', async () => {
    const run = python(
      ['import os', 'for i in range(3000):', '    os.write(1, b"o%d" % i)', '    os.write(2, b"e%d" % i)'].join('\n'),
    );
    const numbered = (letter: string) => Array.from({ length: 3000 }, (_, i) => `${letter}${i}`);
    expect(await writes(run)).toEqual({ stdout: numbered('o'), stderr: numbered('e') });
  });

  test.each([
    ['node', [process.execPath, '-e', 'console.log("hi"); console.error("there")'], 'hi\n', 'there\n'],
    [
      'a shell that opens /dev/stdout',
      ['sh', '-c', 'echo hi > /dev/stdout; echo there > /dev/stderr'],
      'hi\n',
      'there\n',
    ],
    ['tee', ['sh', '-c', 'echo both | tee /dev/stderr'], 'both\n', 'both\n'],
    ['a program that appends to /proc/self/fd/1', ['sh', '-c', 'echo hi >> /proc/self/fd/1'], 'hi\n', ''],
  ])('has what %s prints', async (_, argv, stdout, stderr) => {
    const run = keeper.open({ argv: argv.map(bytes), capture });
    const { stdout: out, stderr: err } = await writes(run);
    expect([out.join(''), err.join('')]).toEqual([stdout, stderr]);
    expect(await run.exit).toMatchObject({ code: 0 });
  });

  test('one write of 4 MB is taken whole, in records of 4,096 bytes', async () => {
    const { stdout, stderr } = await writes(
      python('import os; os.write(2, str(os.write(1, b"x" * 4000000)).encode())'),
    );
    expect(stderr).toEqual(['4000000']);
    expect(stdout.every((record, i) => record.length === (i < 976 ? 4096 : 2304))).toBe(true);
    expect(stdout.join('')).toBe('x'.repeat(4_000_000));
  });

  test('loses nothing where writes with and without packets are mixed, also in a pipe its program made bigger', async () => {
    const program = [
      'import fcntl, os, threading',
      'fcntl.fcntl(1, 1031, 1 << 20)',
      'again = os.open("/dev/stdout", os.O_WRONLY)',
      'for i in range(400):',
      '    os.write(again, b"p" * (1000 + 37 * i))',
      '    os.write(1, b"w" * (4000 - 7 * i))',
    ].join('\n');
    const all = (await writes(python(program))).stdout.join('');
    const expected = Array.from({ length: 400 }, (_, i) => 'p'.repeat(1000 + 37 * i) + 'w'.repeat(4000 - 7 * i)).join(
      '',
    );
    expect(all === expected).toBe(true);
  });

  test('a program that switches packet mode off loses nothing', async () => {
    const program = [
      'import fcntl, os',
      'fcntl.fcntl(1, fcntl.F_SETFL, os.O_WRONLY)',
      'for i in range(5000): os.write(1, b"%d " % i)',
    ].join('\n');
    expect((await writes(python(program))).stdout.join('')).toBe(
      Array.from({ length: 5000 }, (_, i) => `${i} `).join(''),
    );
  });

  test('a slow reader slows the command, and nothing is lost', async () => {
    const run = keeper.sh('i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done', { capture, spoolMax: 10_000 });
    while (!run.find('EXIT')) {
      const next = run.next(RECORDS);
      run.send({ type: 'ACK', stream: RECORDS, durable: next });
      await until(() => run.next(RECORDS) > next || run.find('EXIT') !== undefined, 'more');
    }
    expect((await writes(run)).stdout).toEqual(Array.from({ length: 3000 }, (_, i) => `${i}\n`));
  });

  test('later output of a background child follows, and its end ends the pipes', async () => {
    const run = keeper.sh('echo now; (sleep 0.2; echo late >&2) &', { capture });
    await run.exit;
    const { final } = await run.wait('EOS');
    const records = parse(await run.read(RECORDS, 0, final));
    expect(records.map((record) => record.bytes.toString())).toEqual(['now\n', 'late\n']);
  });

  test('the end of one stream’s reader ends its writers by SIGPIPE, and the other stream goes on', async () => {
    const run = keeper.sh('yes; echo $? >&2', { capture });
    await run.reaches(RECORDS, 1);
    run.send({ type: 'STOP', stream: 1 });
    expect(await run.exit).toMatchObject({ code: 0 });
    expect((await writes(run)).stderr.join('')).toBe('141\n');
  });

  test.each(['exact', 'ordered'])(
    '%s: with no reader of either stream the command ends by SIGPIPE',
    async (capture) => {
      const run = keeper.open({ argv: ['yes'].map(bytes), capture });
      await run.reaches(RECORDS, 1);
      run.send({ type: 'STOP', stream: 1 });
      run.send({ type: 'STOP', stream: 2 });
      const { code, signal } = await run.exit;
      // The socket refuses; yes reports it and fails.
      expect([code, signal]).toEqual(capture === 'exact' ? [undefined, 'SIGPIPE'] : [1, undefined]);
    },
  );

  test('a limit counts the bytes of the command and cuts no record', async () => {
    const run = keeper.open({
      argv: ['python3', '-c', 'import os\nfor i in range(1000): os.write(1, b"%03d" % i)'].map(bytes),
      capture,
      maxOutput: 100,
    });
    expect(await run.exit).toMatchObject({ cause: 'limits' });
    expect((await writes(run)).stdout).toEqual(Array.from({ length: 33 }, (_, i) => String(i).padStart(3, '0')));
  });
});

test('the list counts the bytes of both streams, also after a restart of the keeper', async () => {
  await using own = await KeeperClient.start();
  const runs = ['exact', 'ordered'].map((capture) => own.sh('printf 123456; printf abc >&2', { capture }));
  const bare = own.sh(':', { capture: 'exact' });
  for (const run of [...runs, bare]) await run.wait('TREE_END');
  const counts = async () => {
    const listed = await own.list();
    return [...runs, bare].map(({ runId }) => {
      const info = listed.find((each) => Buffer.compare(each.runId, runId) === 0)!;
      return [info.stdoutBytes, info.stderrBytes];
    });
  };
  const expected = [...runs.map(() => [6, 3]), [undefined, undefined]];
  expect(await counts()).toEqual(expected);
  await own.crash();
  expect(await counts()).toEqual(expected);
});

describe('ordered capture is refused for programs whose output it would lose', () => {
  const refused = async (...argv: string[]) =>
    await keeper.open({ argv: argv.map(bytes), capture: 'ordered', cwd: bytes(folder) }).wait('REFUSED');

  test('node, by its own path, through a link with another name, relative to the folder, and behind "#!"', async () => {
    symlinkSync(process.execPath, join(folder, 'harmless'));
    for (const script of ['direct', 'env']) {
      const line = script === 'env' ? '/usr/bin/env node' : `${process.execPath} --no-warnings`;
      writeFileSync(join(folder, script), `#!${line}\nconsole.log(1)\n`, { mode: 0o755 });
    }
    for (const argv of [[process.execPath, '-v'], [join(folder, 'harmless')], ['./harmless'], ['./direct'], ['./env']])
      expect([argv, await refused(...argv)]).toMatchObject([
        argv,
        { code: 'badspec', message: expect.stringContaining('--capture exact') },
      ]);
  });

  test('deno and bun likewise', async () => {
    for (const name of ['deno', 'bun']) {
      writeFileSync(join(folder, name), '#!/bin/sh\n', { mode: 0o755 });
      expect(await refused(join(folder, name))).toMatchObject({ code: 'badspec' });
    }
  });

  test('other programs run, with any first line', async () => {
    writeFileSync(join(folder, 'script'), '#!/bin/sh\necho node\n', { mode: 0o755 });
    const run = keeper.open({ argv: [bytes('./script')], capture: 'ordered', cwd: bytes(folder) });
    expect(parse(await run.output(RECORDS)).map((record) => record.bytes.toString())).toEqual(['node\n']);
  });
});
