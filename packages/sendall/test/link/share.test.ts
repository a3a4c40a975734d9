import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FairShare } from '../../dist/fair-share.js';

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const takeAll = (share: FairShare): number => {
  while (share.take());
  return share.held;
};

describe('a share', () => {
  test('that takes all it can gets half of the room', () => {
    const room = new FairShare(100);
    expect(takeAll(new FairShare(room))).toBe(50);
    expect(room.held).toBe(50);
  });

  test('leaves something to each later one', () => {
    const room = new FairShare(1000);
    for (let i = 0; i < 8; i++) expect(takeAll(new FairShare(room))).toBeGreaterThan(0);
  });

  test('of a share used up by its neighbours gets its minimum', () => {
    const room = new FairShare(1000);
    const caller = new FairShare(room);
    for (let i = 0; i < 20; i++) takeAll(new FairShare(caller));
    expect(takeAll(new FairShare(caller))).toBe(0);
    expect(takeAll(new FairShare(caller, 4))).toBe(4);
    expect(takeAll(new FairShare(new FairShare(room)))).toBeGreaterThan(100);
  });

  test('with a limit never has more, and its own shares have that much together', () => {
    const room = new FairShare(1000);
    const caller = new FairShare(room, 0, 10);
    const links = Array.from({ length: 4 }, () => new FairShare(caller, 4));
    expect(takeAll(links[0]!)).toBe(5);
    for (const link of links) takeAll(link);
    expect([caller.held, room.held]).toEqual([10, 10]);
    expect(takeAll(new FairShare(room))).toBe(495);
  });

  test('is given back in all its parents', () => {
    const room = new FairShare(10);
    const link = new FairShare(new FairShare(room));
    expect([link.take(), link.take()]).toEqual([true, true]);
    link.give(link.held);
    expect([link.held, room.held]).toEqual([0, 0]);
  });

  test('never exceeds the room, and no caller has more than half', () => {
    const steps = fc.array(fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 3 }), fc.boolean()), { maxLength: 400 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), steps, (size, all) => {
        const room = new FairShare(size);
        const callers = Array.from({ length: 3 }, () => new FairShare(room));
        const links = callers.map((caller) => Array.from({ length: 4 }, () => new FairShare(caller)));
        for (const [caller, link, takes] of all) {
          const share = links[caller]![link]!;
          if (takes) share.take();
          else if (share.held) share.give();
          expect(room.held).toBe(callers.reduce((sum, { held }) => sum + held, 0));
          expect(room.held).toBeLessThanOrEqual(size);
        }
        for (const { held } of callers) expect(held).toBeLessThanOrEqual(Math.ceil(size / 2));
      }),
      { seed: SEED },
    );
  });
});
