import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { DirectionFaults, type FaultPlan } from '../../dist/testing/network/faults.js';
import { memoryPair } from '../../dist/testing/network/memory-pair.js';
import { noise } from '../dist/chatter.js';

const pairWith = (plan: FaultPlan) =>
  memoryPair({ toHost: new DirectionFaults(plan, 'a', true), toCaller: new DirectionFaults(plan, 'b', true) });

/** Writes `data` in one direction; returns the bytes that arrived before the end, and how it ended. */
async function send(plan: FaultPlan, data: Buffer): Promise<{ got: Buffer; error: Error | undefined }> {
  const { caller, host } = pairWith(plan);
  const chunks: Buffer[] = [];
  let error: Error | undefined;
  host.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', (thrown) => (error = thrown));
  host.on('end', () => host.end());
  caller.on('error', () => undefined).resume();
  const closed = new Promise((resolve) => host.once('close', resolve));
  for (let at = 0; at < data.length; at += 1000) caller.write(data.subarray(at, at + 1000));
  caller.end();
  await closed;
  return { got: Buffer.concat(chunks), error };
}

const data = noise('memory', 50_000);

test('bytes arrive as they were written, and then the end', async () => {
  const { got, error } = await send({}, data);
  expect(got.equals(data)).toBe(true);
  expect(error).toBeUndefined();
});

test('pieces of random sizes and delays change nothing', async () => {
  const { got } = await send({ slice: 7, delay: { min: 0, max: 3 } }, data.subarray(0, 5000));
  expect(got.equals(data.subarray(0, 5000))).toBe(true);
});

test.each([0, 1, 999, 1000, 1001, 49_999])('a link is cut after exactly %i bytes', async (cutAfter) => {
  const { got, error } = await send({ cutAfter }, data);
  expect(got.equals(data.subarray(0, cutAfter))).toBe(true);
  expect(error?.message).toMatch(/cut/);
});

test('a stalled link delivers what came before and then nothing, and does not close', async () => {
  const { caller, host } = pairWith({ stallAfter: 1234 });
  const chunks: Buffer[] = [];
  host.on('data', (chunk: Buffer) => chunks.push(chunk));
  for (let at = 0; at < data.length; at += 1000) caller.write(data.subarray(at, at + 1000));
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(Buffer.concat(chunks).equals(data.subarray(0, 1234))).toBe(true);
  expect(host.closed).toBe(false);
  expect(caller.writableNeedDrain).toBe(false);
  caller.destroy();
  host.destroy();
});

describe.each(['duplicateEvery', 'reorderEvery'] as const)('%s', (fault) => {
  test('ends the link with an error; what arrived before is a true beginning', async () => {
    for (let seed = 0; seed < 30; seed++) {
      const { got, error } = await send({ [fault]: 5000, seed }, data);
      expect(data.subarray(0, got.length).equals(got)).toBe(true);
      expect(error?.message, `seed ${seed}`).toMatch(/the network is broken: the bytes from \d+ on came/);
    }
  });
});

test('a writer waits for a reader that does not read', async () => {
  const { caller, host } = memoryPair();
  let written = 0;
  for (let turn = 0; turn < 200; turn++) {
    while (!caller.writableNeedDrain && caller.write(Buffer.alloc(10_000))) written += 10_000;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(written).toBeLessThan(600_000);
  const drained = once(caller, 'drain');
  expect(caller.writableNeedDrain).toBe(true);
  host.resume();
  await drained;
  caller.destroy();
  host.destroy();
});

const places = (seed: number) => {
  const faults = new DirectionFaults({ cutEvery: 1000, duplicateEvery: 700, seed }, 'x', false);
  return [faults.next(), faults.chance.between(0, 1e6)];
};

test('the same seed places the same faults, another seed others', () => {
  expect(places(1)).toEqual(places(1));
  expect(places(1)).not.toEqual(places(2));
});
