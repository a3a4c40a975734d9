/** The console's messages: what one side writes, the other reads; a bad message is named and harms nothing. */
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  OPERATIONS,
  readPageMessage,
  readServerMessage,
  requestText,
  subscribeText,
  type OutputFrame,
  FRAME_HEADER,
  FRAME_STREAMS,
  frameHeader,
  readFrame,
} from '../../src/console/messages.js';

const id = fc.integer({ min: 1, max: 2 ** 32 - 1 });
const word = fc.string({ unit: 'binary', maxLength: 40 });
const hostName = fc.string({ minLength: 1, maxLength: 40 });
const runId = fc.uuid({ version: 7 });

describe('requests', () => {
  test('a run is read as it was written, with every byte of its words', () => {
    fc.assert(
      fc.property(id, hostName, fc.array(word, { minLength: 1 }), runId, (number, targets, argv, run) => {
        const asked = { targets, argv, runId: run, options: { env: { A: 'b' }, stdin: 'open' as const } };
        expect(readPageMessage(requestText(number, 'run', asked))).toEqual({
          message: { type: 'request', id: number, op: 'run', asked },
        });
      }),
    );
  });

  test('a subscription is read as it was written', () => {
    const from = fc.oneof(
      fc.constantFrom('start' as const, 'end' as const),
      fc.record({ tail: fc.nat() }, { noNullPrototype: true }),
      fc.record({ stdout: fc.nat(), stderr: fc.nat() }, { noNullPrototype: true, requiredKeys: [] }),
    );
    fc.assert(
      fc.property(id, hostName, runId, from, fc.nat(), (number, host, run, start, credit) => {
        const asked = { host, runId: run, from: start, credit };
        expect(readPageMessage(subscribeText(number, 'output', asked))).toEqual({
          message: { type: 'subscribe', id: number, kind: 'output', asked },
        });
      }),
    );
  });

  test.each([
    ['not JSON', '{', 0, 'the message is not a JSON object'],
    ['a list', '[1]', 0, 'the message is not a JSON object'],
    ['no id', '{"op":"hosts"}', 0, /^id must be a whole number/],
    ['an unknown operation', '{"id":7,"op":"format"}', 7, /^op must be one of hosts, /],
    ['a name that every object has', '{"id":7,"op":"constructor"}', 7, /^op must be one of/],
    ['an unknown kind', '{"id":7,"subscribe":{"kind":"__proto__"}}', 7, /^kind must be one of/],
    ['an unknown field', '{"id":7,"op":"hosts","more":1}', 7, 'more is not known here'],
    ['a missing field', '{"id":7,"op":"resolve"}', 7, 'targets is missing'],
    [
      'a wrong offset',
      '{"id":7,"subscribe":{"kind":"output","host":"a","runId":"00000000","from":-1}}',
      7,
      /^from must/,
    ],
    ['credit of no bytes', '{"credit":{"sub":1,"bytes":-1}}', 0, /^credit.bytes must be a whole number/],
    ['a key that is no text', '{"hello":{"key":1,"nonce":""}}', 0, /^hello.key/],
    ['a proof that is none', '{"proof":[]}', 0, /^proof/],
  ])('%s gets a sentence that says what is wrong', (_what, json, number, problem) => {
    expect(readPageMessage(json)).toEqual({
      id: number,
      problem: typeof problem === 'string' ? problem : expect.stringMatching(problem),
    });
  });

  test('any text and any JSON are read or refused', () => {
    const anything = fc.oneof(
      fc.string(),
      fc.json(),
      fc
        .record({ id: fc.anything(), op: fc.constantFrom(...Object.keys(OPERATIONS)), host: fc.anything() })
        .map(asJson),
      fc.record({ id: fc.anything(), subscribe: fc.anything() }).map(asJson),
    );
    fc.assert(
      fc.property(anything, (text) => {
        for (const reading of [readPageMessage(text), readServerMessage(text)])
          if ('problem' in reading) expect(reading.problem).toMatch(/./);
      }),
    );
  });
});

describe('frames of output', () => {
  const frame = fc.record({
    sub: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    stream: fc.constantFrom(...FRAME_STREAMS),
    offset: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
    timeMs: fc.option(fc.integer({ min: 0, max: 2 ** 32 - 2 }), { nil: undefined }),
    bytes: fc.uint8Array(),
  });
  const encoded = (one: OutputFrame): Uint8Array => Buffer.concat([frameHeader(one), one.bytes]);

  test('a frame is read as it was written', () => {
    fc.assert(
      fc.property(frame, (one) => {
        const read = readFrame(encoded(one));
        expect(read && { ...read, bytes: new Uint8Array(read.bytes) }).toEqual({
          ...one,
          bytes: new Uint8Array(one.bytes),
        });
      }),
    );
  });

  test('its layout is the documented one', () => {
    const header = frameHeader({ sub: 0x0102_0304, stream: 'terminal', offset: 0x0506_0708_090a, timeMs: 0x0b0c_0d0e });
    expect(Buffer.from(header).toString('hex')).toBe('010203040205060708090a0b0c0d0e');
    expect(FRAME_HEADER).toBe(15);
  });

  test('any bytes are a frame or none', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const read = readFrame(bytes);
        if (read) expect(Buffer.from(encoded(read))).toEqual(Buffer.from(bytes));
        else expect(bytes.length < FRAME_HEADER || bytes[4]! >= FRAME_STREAMS.length).toBe(true);
      }),
    );
  });

  test('a number that does not fit is an error, and a late time is the last one that fits', () => {
    const one = { sub: 1, stream: 'stdout', offset: 0, timeMs: 0 } as const;
    expect(() => frameHeader({ ...one, sub: 2 ** 32 })).toThrow(RangeError);
    expect(() => frameHeader({ ...one, offset: 2 ** 48 })).toThrow(RangeError);
    expect(() => frameHeader({ ...one, offset: 1.5 })).toThrow(RangeError);
    expect(readFrame(frameHeader({ ...one, timeMs: 1e12 }))?.timeMs).toBe(2 ** 32 - 2);
  });
});

function asJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return 'null';
  }
}
