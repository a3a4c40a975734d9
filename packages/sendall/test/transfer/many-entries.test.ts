/** A tree of very many entries takes no memory for those that are settled. */
import { linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Channel } from '../../dist/transfer/stream/channel.js';
import { encodeEntry, encodeMessage } from '../../dist/transfer/stream/messages.js';
import { within } from '../../../../test/support/waits.js';
import { folder, startHelper } from './both-ends.js';

const MIB = 1024;
/** Memory that may come with any amount of work: the heap of a process that has just begun grows. */
const GROWTH = 24 * MIB;
const FEW = 12_000;
const MANY = 150_000;
/** Entries under way at a time. */
const AT_ONCE = 500;
const MAX_FRAME = 320 * 1024;

const onLinux = test.runIf(process.platform === 'linux');
const top = { kind: 1, mode: 0o755, seconds: 0, nanoseconds: 0 };

/** KiB of a process that are in memory. */
const memoryOf = (pid: number): number =>
  Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]);

onLinux('at the receiver', async () => {
  const { child, streams, exited } = startHelper('put', [`${folder()}/top`]);
  const channel = new Channel(streams, MAX_FRAME);
  channel.send(encodeMessage('begin', { version: 1, sources: 1, settings: { exclude: [], fsync: 0, dryRun: true } }));
  channel.send(encodeEntry({ ...top, name: Buffer.from('top') }));
  let [sent, answered] = [1, 0];
  const upTo = async (entries: number): Promise<number> => {
    while (answered < entries - 1) {
      for (; sent < entries && sent - answered < AT_ONCE; sent++)
        channel.send(encodeEntry({ ...top, kind: 0, name: Buffer.from(`file-${sent}`), size: 100_000 }));
      const message = channel.take();
      if (message?.type === 'placed') answered++;
      else if (!message) await channel.arrival();
    }
    return memoryOf(child.pid!);
  };
  const before = await within(upTo(FEW), 'the first entries');
  const after = await within(upTo(MANY), 'all entries', 60_000);
  expect(after - before).toBeLessThan(GROWTH);
  channel.send(encodeMessage('leave', { complete: true }));
  channel.send(encodeMessage('done', { entries: MANY, leftOut: [] }));
  channel.end();
  expect(await within(exited, 'the program')).toEqual({ code: 0, stderr: '' });
});

onLinux('at the sender', async () => {
  const from = `${folder()}/top`;
  mkdirSync(from);
  writeFileSync(`${from}/file`, 'some content');
  for (let i = 1; i < FEW; i++) linkSync(`${from}/file`, `${from}/${i}`);
  const { child, streams, exited } = startHelper('get', [from]);
  const channel = new Channel(streams, MAX_FRAME);
  channel.send(encodeMessage('begin', { version: 1, settings: { exclude: [], fsync: 0 } }));
  let entries = 0;
  const upTo = async (most: number): Promise<number> => {
    for (;;) {
      const message = channel.take();
      if (message?.type === 'entry') channel.send(encodeMessage('placed', { file: entries++ }));
      else if (!message) await channel.arrival();
      if (message?.type === 'done' || entries === most) return memoryOf(child.pid!);
    }
  };
  const before = await within(upTo(FEW / 10), 'the first entries');
  const after = await within(upTo(Infinity), 'all entries', 60_000);
  expect(entries).toBe(FEW + 1);
  expect(after - before).toBeLessThan(GROWTH);
  channel.send(encodeMessage('done', { entries, leftOut: [] }));
  channel.end();
  expect(await within(exited, 'the program')).toEqual({ code: 0, stderr: '' });
});
