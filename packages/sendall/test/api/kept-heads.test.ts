/** The heads of hosts' logs that a caller keeps, and what it says of those that come. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { resolveHome, type Home } from 'sendall';
import { HostLog, KeptHeads, type KeptHead } from '../../dist/client/kept-heads.js';
import type { Exit } from '../../dist/protocol/messages.js';
import { until } from '../../../../test/support/waits.js';

let folder: string;
let home: Home;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kept-heads-'));
  home = resolveHome({ SENDALL_HOME: folder });
  // The tests write files there before sendall does.
  writeFileSync(join(folder, '.sendall'), '');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const KEY = `SHA256:${'k'.repeat(43)}`;
const rootOf = (word: string): Buffer => Buffer.alloc(32, word);
const textOf = (word: string): string => rootOf(word).toString('base64');
const exitOf = (size: number, word: string, more: Partial<Exit> = {}): Exit => ({
  code: 0,
  upto: [],
  survivors: [],
  startMs: 1,
  endMs: 2,
  log: { index: size, size, head: rootOf(word) },
  ...more,
});
const log = (): HostLog => new HostLog(KeptHeads.of(home), KEY, 'web1');
/** Judges the head of a run that is sent now and ends at once. */
const judge = (size: number, word: string): string | undefined => {
  const host = log();
  return host.judge(exitOf(size, word), host.seen);
};
const file = (): string => join(folder, 'heads');

describe('a head', () => {
  test('with more records, or the same, is kept; one with fewer or others is told, and the old one stays', () => {
    expect(judge(790, 'a')).toBeUndefined();
    expect(judge(790, 'a')).toBeUndefined();
    expect(judge(812, 'b')).toBeUndefined();
    expect(judge(811, 'c')).toMatch(/^the log of web1 was cut or rewritten: 812 records seen on .* UTC, 811 now$/);
    expect(judge(812, 'c')).toMatch(/812 records seen on .* UTC, and now they are others$/);
    expect(log().seen).toMatchObject({ size: 812, root: textOf('b') });
    expect(judge(0, 'c')).toMatch(/, 0 now$/);
  });

  test('that another run overtook on its way is no cut: what was seen before the run was sent counts', () => {
    const host = log();
    const before = host.seen;
    expect(judge(20, 'b')).toBeUndefined();
    expect(host.judge(exitOf(10, 'a'), before)).toBeUndefined();
    expect(host.seen).toMatchObject({ size: 20 });
    // The same number of records has one root, whenever it was seen.
    expect(host.judge(exitOf(20, 'c'), before)).toMatch(/now they are others$/);
  });

  test('that is left out after one was seen is told, but not of a run that is lost', () => {
    const none = exitOf(1, 'a', { log: undefined });
    expect(log().judge(none, undefined)).toBeUndefined();
    judge(5, 'a');
    expect(log().judge(none, log().seen)).toMatch(/5 records seen on .*, and it tells no head now$/);
    expect(log().judge({ ...none, cause: 'lost' }, log().seen)).toBeUndefined();
  });
});

describe('the file of heads', () => {
  const written = async (text: string): Promise<void> => {
    await until(() => {
      try {
        return readFileSync(file(), 'utf8').includes(text);
      } catch {
        return false;
      }
    }, 'the head to be written');
  };

  /** What another process says that does this. */
  const inProcess = (text: string): string => {
    const module = fileURLToPath(new URL('../../dist/client/kept-heads.js', import.meta.url));
    const program = `
      import { KeptHeads } from ${JSON.stringify(module)};
      const home = { config: ${JSON.stringify(folder)} };
      ${text}`;
    return execFileSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' });
  };

  /** What another process reads there. */
  const elsewhere = (key = KEY): KeptHead | undefined => {
    const said = inProcess(`console.log(JSON.stringify(KeptHeads.of(home).get(${JSON.stringify(key)}) ?? null));`);
    return (JSON.parse(said) as KeptHead | null) ?? undefined;
  };

  test('is private, and serves other processes; the largest head counts, whatever the order of lines', async () => {
    judge(7, 'a');
    await written(' 7 ');
    expect(elsewhere()).toMatchObject({ size: 7, root: textOf('a') });
    const line = (size: number, word: string, mark = ''): string => `${KEY} ${size} ${textOf(word)} 1000${mark}\n`;
    writeFileSync(file(), line(9, 'b') + line(8, 'c') + 'torn SHA256 li\n', { mode: 0o600 });
    expect(elsewhere()).toMatchObject({ size: 9, root: textOf('b') });
    writeFileSync(file(), line(9, 'b') + line(3, 'c', ' accepted') + line(4, 'd'));
    expect(elsewhere()).toMatchObject({ size: 4, root: textOf('d') });
    expect(elsewhere('another')).toBeUndefined();
  });

  test('whose last line is torn, as by a full disk, loses that line and no other', async () => {
    const line = `${KEY} 9 ${textOf('b')} 1000`;
    for (const length of [4, KEY.length + 2, line.length - 2, line.length]) {
      writeFileSync(file(), `${line}\n${`${KEY}x`.slice(0, -4)}${line.slice(0, length)}`, { mode: 0o600 });
      KeptHeads.of(home).accept('another', 5, textOf('c'));
      expect(elsewhere('another')).toMatchObject({ size: 5, root: textOf('c') });
      expect(elsewhere()).toMatchObject({ size: 9 });
    }
  });

  test('takes a smaller head that a person accepts', async () => {
    judge(9, 'a');
    KeptHeads.of(home).accept(KEY, 3, textOf('b'));
    expect(log().seen).toMatchObject({ size: 3 });
    expect(judge(4, 'c')).toBeUndefined();
    await written(' accepted');
    expect(elsewhere()!.size).toBeLessThan(9);
  });

  test('takes a smaller head that a person accepts in another process meanwhile', async () => {
    judge(9, 'a');
    await written(' 9 ');
    const host = log();
    const before = host.seen;
    expect(host.judge(exitOf(4, 'c'), before)).toMatch(/9 records seen on .*, 4 now$/);
    inProcess(`KeptHeads.of(home).accept(${JSON.stringify(KEY)}, 3, ${JSON.stringify(textOf('b'))});`);
    expect(host.judge(exitOf(4, 'c'), before)).toBeUndefined();
    expect(host.seen).toMatchObject({ size: 4 });
    expect(judge(3, 'b')).toMatch(/4 records seen on .*, 3 now$/);
  });

  test('that others may read is an error before anything is sent', () => {
    writeFileSync(file(), '');
    chmodSync(file(), 0o644);
    expect(() => log()).toThrow(/is open to other users/);
  });

  test('is shortened when it has grown, and no host is lost', async () => {
    const line = (i: number): string => `host-${i % 40_000} ${i} ${textOf('a')} ${i}\n`;
    writeFileSync(file(), Array.from({ length: 130_000 }, (_, i) => line(i)).join(''), { mode: 0o600 });
    judge(1, 'a');
    await until(() => readFileSync(file()).length < 4 * 1024 * 1024, 'a shorter file');
    expect(elsewhere('host-5')).toMatchObject({ size: 120_005 });
    expect(elsewhere()).toMatchObject({ size: 1 });
  });
});
