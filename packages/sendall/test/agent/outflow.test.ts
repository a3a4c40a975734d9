/** Output on its way from the spool to a caller, while the keeper drops old bytes. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { until } from '../../../../test/support/waits.js';
import { Outflow } from '../../dist/agent/streams/outflow.js';
import { ReadAhead } from '../../dist/agent/streams/read-ahead.js';
import { SpoolReader, SpoolWriter } from '../../dist/keeper/output/spool.js';
import { Link } from '../../dist/link/link.js';
import { memoryPair } from '../../dist/testing/network/memory-pair.js';
import type { Message } from '../../dist/protocol/messages.js';

const SEGMENT = 64 * 1024;

test('bytes after a gap reported during a read are sent, even if that read finds nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-outflow-'));
  const pair = memoryPair();
  const got: string[] = [];
  const near = new Link(pair.host).start({ message: () => undefined, closed: () => undefined });
  const far = new Link(pair.caller).start({
    message(message: Message) {
      if (message.type === 'GAP') got.push(`gap ${message.from} to ${message.to}`);
      if (message.type === 'DATA') got.push(`data at ${message.offset}`);
    },
    closed: () => undefined,
  });
  const spool = new SpoolWriter(folder, 1, SEGMENT);
  for (let i = 0; i < 4; i++) spool.append(Buffer.alloc(SEGMENT));
  spool.dropBelow(SEGMENT);
  let woken = 0;
  // Credit for one short frame.
  const start = { offset: 0, limit: 2 * SEGMENT + 1000 };
  const flow = new Outflow(1, new SpoolReader(folder, 1), new ReadAhead(1 << 20), start, () => void woken++);
  flow.grow(spool.next);
  // The oldest bytes are gone; a pending read of them will find only that.
  flow.send(near, 1);
  expect(flow.ready).toBe(false);
  spool.dropBelow(2 * SEGMENT);
  flow.skip(2 * SEGMENT, 'dropped');
  while (flow.ready) flow.send(near, 1);
  const before = woken;
  await until(() => woken > before, 'word that there is more to send');
  while (flow.ready) {
    flow.send(near, 1);
    near.flushData();
  }
  await until(() => got.length > 1, 'bytes behind the gap');
  expect(got).toEqual([`gap 0 to ${2 * SEGMENT}`, `data at ${2 * SEGMENT}`]);
  flow.stop();
  for (const link of [near, far]) link.destroy();
  rmSync(folder, { recursive: true });
});
