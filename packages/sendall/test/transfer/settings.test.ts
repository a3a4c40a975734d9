/** Where files are written (--no-atomic), what mode they get (--mode), and what an end in the middle leaves. */
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { receiveFiles } from '../../dist/transfer/receiving.js';
import { sendFiles } from '../../dist/transfer/sending.js';
import { noise } from '../dist/chatter.js';
import { until, within } from '../../../../test/support/waits.js';
import { folder, startHelper, streamPair, transfer } from './both-ends.js';

const LARGE = 1_000_000;
const SMALL = 1000;

const modeOf = (path: string): number => statSync(path).mode & 0o7777;

describe('--no-atomic', () => {
  test.each([
    ['a large file', LARGE],
    ['a small one', SMALL],
  ])('writes %s into what is there: its inode and other names stay', async (what, size) => {
    const [from, to] = [folder(), folder()];
    const content = noise(what, size);
    writeFileSync(`${from}/file`, content);
    writeFileSync(`${to}/file`, noise('longer', 2 * size));
    linkSync(`${to}/file`, `${to}/other`);
    const { ino } = statSync(`${to}/file`);
    const { received } = await transfer([`${from}/file`], `${to}/`, { atomic: false });
    expect(received).toMatchObject({ placed: 1, failed: 0, sent: size });
    expect(statSync(`${to}/file`).ino).toBe(ino);
    for (const name of ['file', 'other']) expect(readFileSync(`${to}/${name}`).equals(content)).toBe(true);
    expect(readdirSync(to).toSorted()).toEqual(['file', 'other']);
  });

  test('makes a file that is not there, with its mode', async () => {
    const [from, to] = [folder(), folder()];
    writeFileSync(`${from}/file`, 'new');
    chmodSync(`${from}/file`, 0o751);
    await transfer([`${from}/file`], `${to}/`, { atomic: false });
    expect(readFileSync(`${to}/file`, 'utf8')).toBe('new');
    expect(modeOf(`${to}/file`)).toBe(0o751);
  });

  test('follows no link, and leaves no part for a later transfer', async () => {
    const [from, to] = [folder(), folder()];
    writeFileSync(`${from}/file`, noise('now', LARGE));
    writeFileSync(`${to}/elsewhere`, 'old');
    symlinkSync('elsewhere', `${to}/file`);
    const { received } = await transfer([`${from}/file`], `${to}/`, { atomic: false });
    expect(received).toMatchObject({ placed: 0, failed: 1 });
    expect(readFileSync(`${to}/elsewhere`, 'utf8')).toBe('old');
    expect(lstatSync(`${to}/file`).isSymbolicLink()).toBe(true);
    expect(readdirSync(to).toSorted()).toEqual(['elsewhere', 'file']);
  });
});

describe('--mode', () => {
  test('gives it to every file and to no folder, and never more than permissions', async () => {
    const from = `${folder()}/top`;
    mkdirSync(from, { mode: 0o750 });
    chmodSync(from, 0o750);
    for (const [name, size] of [
      ['small', SMALL],
      ['large', LARGE],
    ] as const) {
      writeFileSync(`${from}/${name}`, noise(name, size));
      chmodSync(`${from}/${name}`, 0o4755);
    }
    const to = `${folder()}/top`;
    await transfer([from], to, { mode: 0o604 });
    expect([modeOf(to), modeOf(`${to}/small`), modeOf(`${to}/large`)]).toEqual([0o750, 0o604, 0o604]);
    // Without it their own comes back, and nothing travels for that.
    const again = await transfer([from], to, { into: false });
    expect(again.received).toMatchObject({ same: 3, placed: 0 });
    expect([modeOf(`${to}/small`), modeOf(`${to}/large`)]).toEqual([0o755, 0o755]);
  });

  test.each([-1, 0o1000, 0.5, Number.NaN])('%s is none', (mode) => {
    const [near] = streamPair();
    expect(() => sendFiles([], near, { settings: { mode } })).toThrow(/mode/);
  });
});

describe('an end in the middle', () => {
  /** Streams of which the way to the receiver stops after so many bytes, and tells. */
  function stopping(after: number) {
    const [near, far] = streamPair();
    let passed = 0;
    let reached: () => void;
    const there = new Promise<void>((resolve) => (reached = resolve));
    const output = new PassThrough();
    output.on('data', (chunk: Buffer) => {
      passed += chunk.length;
      if (passed < after) near.output.write(chunk);
      else reached();
    });
    output.on('close', () => near.output.destroy());
    return { near: { input: near.input, output }, far, there };
  }

  test.each(['sender', 'receiver'])('an abort of the %s ends both, and the part that came is kept', async (who) => {
    const [from, to] = [folder(), folder()];
    const content = noise(who, 4 * LARGE);
    writeFileSync(`${from}/file`, content);
    const { near, far, there } = stopping(2 * LARGE);
    const stop = new AbortController();
    const signal = { signal: stop.signal };
    const sending = sendFiles([`${from}/file`], near, { settings: {}, ...(who === 'sender' ? signal : {}) });
    const receiving = receiveFiles(`${to}/`, far, who === 'receiver' ? signal : {});
    await within(there, 'half of the file');
    const hasPart = () => readdirSync(to).some((name) => statSync(`${to}/${name}`).size > 0);
    await until(hasPart, 'a part of it to be written');
    const reason = new Error('enough');
    stop.abort(reason);
    const ends = within(Promise.allSettled([sending.result, receiving.result]), 'both ends');
    const [sent, received] = await ends;
    const [own, other] = who === 'sender' ? [sent, received] : [received, sent];
    expect(own).toMatchObject({ status: 'rejected', reason });
    expect(other).toMatchObject({ status: 'rejected' });
    const [part, ...others] = readdirSync(to);
    expect(others).toEqual([]);
    expect(part).toMatch(/^\.sendall-[^.]+\.[0-9a-f]{16}$/);
    const kept = readFileSync(`${to}/${part}`);
    expect(kept.length).toBeGreaterThan(0);
    expect(kept.equals(content.subarray(0, kept.length))).toBe(true);
    expect(modeOf(`${to}/${part}`)).toBe(0o600);
    const next = await transfer([`${from}/file`], `${to}/`);
    expect(next.received.sent).toBe(content.length - kept.length);
    expect(readdirSync(to)).toEqual(['file']);
    expect(readFileSync(`${to}/file`).equals(content)).toBe(true);
  });

  test('the program at the far end ends with its caller, and keeps the part that came', async () => {
    const [from, to] = [folder(), folder()];
    const content = noise('caller', 8 * LARGE);
    writeFileSync(`${from}/file`, content);
    const put = startHelper('put', [`${to}/`]);
    const stop = new AbortController();
    const output = new PassThrough();
    let passed = 0;
    output.on('data', (chunk: Buffer) => {
      passed += chunk.length;
      if (passed < 4 * LARGE) put.streams.output.write(chunk);
      else stop.abort();
    });
    put.streams.output.on('error', () => undefined);
    const sending = sendFiles(
      [`${from}/file`],
      { input: put.streams.input, output },
      { settings: {}, signal: stop.signal },
    );
    await expect(within(sending.result, 'the sender')).rejects.toThrow();
    put.streams.output.end();
    const { code, stderr } = await within(put.exited, 'the program');
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('the stream ended') as string });
    const [part] = readdirSync(to);
    expect(part).toMatch(/^\.sendall-/);
    const next = await transfer([`${from}/file`], `${to}/`);
    expect(next.received.sent).toBeLessThan(content.length);
    expect(readFileSync(`${to}/file`).equals(content)).toBe(true);
  });
});
