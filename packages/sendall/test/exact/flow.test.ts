import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Inbound } from '../../dist/client/streams/inbound.js';
import { CreditPool } from '../../dist/protocol/flow.js';
import { Outbound } from '../../dist/client/streams/outbound.js';
import { noise } from '../dist/chatter.js';

const often = { numRuns: 300 };

describe('a stream coming in', () => {
  const total = noise('inbound', 60_000);

  test('delivers each byte once, in order, however pieces overlap and repeat', () => {
    const pieces = fc.array(fc.tuple(fc.nat(60_000), fc.nat(9000)), { maxLength: 60 });
    fc.assert(
      fc.property(pieces, (list) => {
        const inbound = new Inbound(1, true);
        const got: Buffer[] = [];
        inbound.deliver = (bytes) => got.push(bytes);
        for (const [at, length] of [...list, ...list]) {
          const from = Math.min(at, inbound.next);
          inbound.receive(from, total.subarray(from, from + length));
        }
        inbound.receive(0, total);
        expect(Buffer.concat(got).equals(total)).toBe(true);
        expect(inbound.sha256).toBe(createHash('sha256').update(total).digest('hex'));
      }),
      often,
    );
  });

  test('refuses holes, bytes beyond the credit, and bytes behind the end', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 50_000 }), fc.integer({ min: 1, max: 1000 }), (have, more) => {
        const inbound = new Inbound(1);
        inbound.receive(0, total.subarray(0, have));
        expect(() => inbound.receive(have + more, Buffer.from('x'))).toThrow(/came where/);
        inbound.limit = have;
        expect(() => inbound.receive(have, Buffer.alloc(more))).toThrow(/beyond the credit/);
        inbound.limit = Infinity;
        inbound.endAt(have);
        expect(() => inbound.receive(have, Buffer.alloc(more))).toThrow(/after its end/);
        expect(() => inbound.endAt(have + 1)).toThrow(/and again/);
        expect(inbound.next).toBe(have);
      }),
      often,
    );
  });

  test('always grants more once everything is read, and never takes credit back', () => {
    const steps = fc.array(fc.tuple(fc.nat(400_000), fc.nat(400_000), fc.boolean()), { maxLength: 60 });
    fc.assert(
      fc.property(steps, fc.option(fc.integer({ min: 64, max: 16_384 })), (list, burst) => {
        const inbound = new Inbound(1);
        inbound.pool = new CreditPool(1e8);
        if (burst !== null) inbound.restrain(burst);
        let { limit } = inbound;
        const grant = () => {
          const granted = inbound.grant();
          if (granted === undefined) return;
          expect(granted).toBeGreaterThan(limit);
          expect(granted).toBe(inbound.limit);
          ({ limit } = inbound);
        };
        for (const [size, used] of list) {
          const fits = Math.min(size, inbound.limit - inbound.next);
          inbound.receive(inbound.next, Buffer.alloc(fits));
          inbound.consumed(Math.min(used, inbound.unread));
          grant();
        }
        inbound.receive(inbound.next, Buffer.alloc(inbound.limit - inbound.next));
        inbound.consumed(inbound.unread);
        grant();
        expect(inbound.limit).toBeGreaterThan(inbound.next);
      }),
      often,
    );
  });

  test('never has more in flight than its window, whatever the reader does', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(300_000), fc.boolean()), { maxLength: 80 }), (list) => {
        const inbound = new Inbound(1);
        for (const [size, read] of list) {
          inbound.receive(inbound.next, Buffer.alloc(Math.min(size, inbound.limit - inbound.next)));
          if (read) inbound.consumed(inbound.unread);
          inbound.grant();
          expect(inbound.limit - (inbound.next - inbound.unread)).toBeLessThanOrEqual(1024 * 1024);
        }
      }),
      often,
    );
  });

  test('compares checksums at the offset that the exit names, wherever the pieces are cut', () => {
    fc.assert(
      fc.property(fc.nat(60_000), fc.nat(60_000), fc.nat(60_000), (mark, cut, markedAt) => {
        const inbound = new Inbound(1, true);
        const early = Math.min(markedAt, mark);
        inbound.receive(0, total.subarray(0, early));
        inbound.markAt(mark);
        const to = Math.max(cut, early);
        inbound.receive(early, total.subarray(early, to));
        inbound.receive(to, total.subarray(to));
        const upto = (bytes: Buffer) => ({
          stream: 1,
          offset: mark,
          crc32: crc32(bytes),
          sha256: createHash('sha256').update(bytes).digest(),
        });
        expect(inbound.matches(upto(total.subarray(0, mark)))).toBe(true);
        expect(inbound.matches(upto(Buffer.concat([total.subarray(0, mark), Buffer.from('!')])))).toBe(false);
      }),
      often,
    );
  });

  test('reports which bytes are missing, and that the rest cannot be compared', () => {
    const inbound = new Inbound(1, true);
    inbound.receive(0, Buffer.from('abc'));
    expect(inbound.skip(0, 10)).toEqual({ from: 3, to: 10 });
    expect(inbound.skip(5, 10)).toBeUndefined();
    expect(() => inbound.skip(11, 20)).toThrow(/a gap from 11/);
    inbound.markAt(12);
    inbound.receive(10, Buffer.from('xy'));
    expect(inbound.sha256).toBeUndefined();
    expect(inbound.matches({ stream: 1, offset: 12, crc32: 1 })).toBe(true);
  });
});

describe('stdin going out', () => {
  const total = noise('outbound', 40_000);
  type Step = { kind: 'write'; size: number } | { kind: 'send' } | { kind: 'take'; part: number } | { kind: 'lose' };
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.nat(3000).map((size): Step => ({ kind: 'write', size })),
    fc.constant<Step>({ kind: 'send' }),
    fc.nat(100).map((part): Step => ({ kind: 'take', part })),
    fc.constant<Step>({ kind: 'lose' }),
  );

  test('gives the host each byte once over any number of links, and then the end', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const out = new Outbound();
        const host: Buffer[] = [];
        let next = 0;
        let ended = false;
        let written = 0;
        let wire: { offset: number; bytes: Buffer }[] = [];
        const take = (part: number) => {
          // The host takes a first part of the bytes on the wire, and acknowledges it or dies before.
          for (const { offset, bytes } of wire.splice(0, Math.ceil((wire.length * part) / 100))) {
            expect(offset).toBeLessThanOrEqual(next);
            const fresh = bytes.subarray(next - offset);
            host.push(Buffer.from(fresh));
            next += fresh.length;
          }
        };
        const send = () => {
          for (let piece = out.take(); piece; piece = out.take()) wire.push(piece);
        };
        out.allow(1e9);
        for (const each of steps) {
          if (each.kind === 'write') {
            const piece = Buffer.from(total.subarray(written, written + each.size));
            out.write(piece);
            written += piece.length;
            // The writer may reuse its buffer immediately.
            piece.fill(0);
          } else if (each.kind === 'send') send();
          else if (each.kind === 'take') {
            take(each.part);
            if (each.part % 2) out.acknowledge(next, false);
          } else {
            wire = [];
            if (each.kind === 'lose') out.rewind(next, false);
          }
        }
        out.end();
        wire = [];
        out.rewind(next, false);
        send();
        take(100);
        expect(out.takeEnd()).toBe(written);
        ended = true;
        out.acknowledge(next, ended);
        expect(Buffer.concat(host).equals(total.subarray(0, written))).toBe(true);
      }),
      often,
    );
  });

  test('never sends beyond the credit', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20_000), { maxLength: 30 }), (limits) => {
        const out = new Outbound();
        out.write(total);
        let granted = 0;
        for (const limit of limits) {
          out.allow(limit);
          granted = Math.max(granted, limit);
          for (let piece = out.take(); piece; piece = out.take())
            expect(piece.offset + piece.bytes.length).toBeLessThanOrEqual(granted);
        }
      }),
      often,
    );
  });

  test('makes its writer wait at an unacknowledged megabyte', () => {
    const out = new Outbound();
    let accepted = 0;
    for (let i = 0; i < 100; i++) out.write(Buffer.alloc(64 * 1024), () => (accepted += 64 * 1024));
    expect(out.writableNeedDrain).toBe(true);
    expect(out.writableLength).toBeGreaterThan(4 * 1024 * 1024);
    expect(accepted).toBeLessThanOrEqual(1024 * 1024);
  });

  test('refuses a host that forgot acknowledged bytes', () => {
    const out = new Outbound();
    out.allow(1000);
    out.write(Buffer.alloc(100));
    out.take();
    out.acknowledge(100, false);
    expect(() => out.rewind(50, false)).toThrow(/took 100 bytes and wants 50/);
  });
});
