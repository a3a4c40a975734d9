/** The page and the lab check each other's messages: a bad one gets a clear error and affects only one page. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { until, within } from '../../../test/support/waits.js';
import { readLabMessage, readPageRequest, type LabMessage } from '../dist/page/protocol.js';
import { PHENOMENON_NAMES } from '../dist/phenomena/names.js';
import { wirelab, type Program } from './programs.js';

const id = fc.nat();
const word = fc.string({ maxLength: 200 });
const view = fc.constantFrom('inspect', 'chaos');
const ofOneWay = fc.record(
  {
    slice: fc.integer({ min: 1, max: 65_536 }),
    jitter: fc.integer({ min: 1, max: 5000 }),
    corrupt: fc.constantFrom(0, 0.25, 1),
    halfClose: fc.boolean(),
  },
  { requiredKeys: [], noNullPrototype: true },
);
const faults = fc
  .tuple(ofOneWay, fc.record({ up: ofOneWay, down: ofOneWay }, { requiredKeys: [], noNullPrototype: true }))
  .map(([both, ways]) => ({ ...both, ...ways }));
const request = fc.oneof(
  fc.record({ type: fc.constant('show'), id, name: fc.constantFrom(...PHENOMENON_NAMES) }, { noNullPrototype: true }),
  fc.record(
    {
      type: fc.constant('experiment'),
      id,
      messages: fc.array(fc.string({ maxLength: 100 }), { minLength: 1, maxLength: 16 }),
      noDelay: fc.boolean(),
      lateAck: fc.boolean(),
      delayMs: fc.integer({ min: 0, max: 1000 }),
      readSize: fc.integer({ min: 1, max: 65_536 }),
      framing: word,
      faults,
    },
    { noNullPrototype: true },
  ),
  fc.record(
    { type: fc.constant('inspect'), id, to: word, framing: word, framingBack: word },
    { noNullPrototype: true },
  ),
  fc.record({ type: fc.constant('chaos'), id, to: word, faults, seed: fc.nat() }, { noNullPrototype: true }),
  fc.record({ type: fc.constant('change'), id, faults }, { noNullPrototype: true }),
  fc.record(
    { type: fc.constant('pcap'), id, name: fc.constantFrom('experiment', 'inspect', 'chaos', ...PHENOMENON_NAMES) },
    { noNullPrototype: true },
  ),
  fc.record({ type: fc.constantFrom('traffic', 'stop'), id, view }, { noNullPrototype: true }),
);
/** A request, and one of its fields that says what is asked. */
const requestAndField = request.chain((asked) =>
  fc.tuple(fc.constant(asked), fc.constantFrom(...Object.keys(asked).filter((key) => key !== 'type'))),
);
const nonsense = fc
  .oneof(
    fc.string(),
    fc.json(),
    requestAndField.map(([asked, field]) => JSON.stringify({ ...asked, [field]: { wrong: 1 } })),
  )
  .filter((text) => 'problem' in readPageRequest(text));

describe('the schema of page and lab', () => {
  it('passes every valid request unchanged', () => {
    fc.assert(
      fc.property(request, (asked) => {
        expect(readPageRequest(JSON.stringify(asked))).toEqual({ message: asked });
      }),
    );
  });

  it('names the wrong field, and keeps the number of the request', () => {
    fc.assert(
      fc.property(requestAndField, fc.constantFrom(null, { wrong: 1 }), ([asked, field], wrong) => {
        const reading = readPageRequest(JSON.stringify({ ...asked, [field]: wrong }));
        expect(reading).toMatchObject({ id: field === 'id' ? 0 : asked.id });
        expect(reading).toMatchObject({ problem: expect.stringMatching(new RegExp(`^${field}\\b.* (must|is)`)) });
      }),
    );
  });

  it('refuses an unknown field, and a request that lacks a field', () => {
    fc.assert(
      fc.property(requestAndField, ([asked, field]) => {
        const more = JSON.stringify({ ...asked, surprise: 1 });
        expect(readPageRequest(more)).toEqual({ id: asked.id, problem: 'surprise is not known here' });
        const less = JSON.stringify({ ...asked, [field]: undefined });
        expect(readPageRequest(less)).toMatchObject({ problem: `${field} is missing` });
      }),
    );
  });

  it('answers any text with a message or a problem, on both sides', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          request.map((asked) => JSON.stringify(asked)),
        ),
        (text) => {
          for (const reading of [readPageRequest(text), readLabMessage(text)])
            expect('message' in reading ? 'right' : reading.problem).toMatch(/./);
        },
      ),
    );
  });
});

/** One page, without a browser. */
class Visitor {
  readonly socket: WebSocket;
  /** All messages received, in order. */
  readonly heard: string[] = [];
  #next = 1;

  constructor(url: URL) {
    this.socket = new WebSocket(`ws://${url.host}${url.pathname}socket`, { headers: { origin: url.origin } });
    this.socket.on('message', (data: Buffer) => this.heard.push(data.toString()));
  }

  /** Sends it, and resolves with the first message from then on that is neither a report nor says how far a run is. */
  async says(text: string | Buffer): Promise<LabMessage> {
    const from = this.heard.length;
    this.socket.send(text);
    for (let at = from; ; at++) {
      while (this.heard.length <= at) await within(once(this.socket, 'message'), 'an answer of the lab');
      const reading = readLabMessage(this.heard[at]!);
      if ('problem' in reading) throw new Error(reading.problem);
      if ('id' in reading.message && reading.message.type !== 'progress') return reading.message;
    }
  }

  asks(type: string, fields: object): Promise<LabMessage> {
    return this.says(JSON.stringify({ type, id: this.#next++, ...fields }));
  }
}

describe('the lab, and pages that send bad messages', () => {
  let lab: Program;
  let url: URL;
  beforeAll(async () => {
    lab = wirelab('page');
    url = new URL((await lab.says(/listening (http:\S+)/))[1]!);
  });
  afterAll(() => lab?.[Symbol.asyncDispose]());

  const visit = async (): Promise<Visitor> => {
    const visitor = new Visitor(url);
    await within(once(visitor.socket, 'open'), 'the lab to take a page');
    return visitor;
  };
  const plain = { noDelay: true, lateAck: false, delayMs: 0, readSize: 1024, framing: 'u32be', faults: {} };

  it('answers each bad message with an error and serves the same page on', async () => {
    const page = await visit();
    await fc.assert(
      fc.asyncProperty(nonsense, async (text) => {
        expect(await page.says(text)).toMatchObject({ type: 'error', message: expect.stringMatching(/./) });
        expect(await page.asks('stop', { view: 'chaos' })).toMatchObject({ type: 'stopped' });
      }),
    );
    expect(await page.says(Buffer.from('{}'))).toMatchObject({ message: 'a request must be text, not bytes' });
    page.socket.terminate();
  });

  it('closes only the page that sends too much', async () => {
    const [bad, good] = [await visit(), await visit()];
    const closed = once(bad.socket, 'close');
    bad.socket.send('x'.repeat(70_000));
    expect((await within(closed, 'the lab to close the page'))[0]).toBe(1009);
    const answer = await good.asks('experiment', { ...plain, messages: ['hello', 'world'] });
    expect(answer).toMatchObject({ type: 'experiment', messages: [{ text: 'hello' }, { text: 'world' }] });
    good.socket.terminate();
  });

  it('refuses excess requests, by their numbers', async () => {
    const page = await visit();
    const count = 100;
    // In one write: the first one takes a second, and all the others come within it.
    const stream = (page.socket as unknown as { readonly _socket: Socket })._socket;
    stream.cork();
    page.socket.send(JSON.stringify({ type: 'experiment', id: 1, ...plain, messages: ['a', 'b'], delayMs: 1000 }));
    for (let id = 2; id <= count; id++) page.socket.send(JSON.stringify({ type: 'stop', id, view: 'chaos' }));
    stream.uncork();
    while (page.heard.length < count) await within(once(page.socket, 'message'), 'all answers');
    const answers = page.heard.map((text) => JSON.parse(text) as { type: string; id: number; message?: string });
    expect(new Set(answers.map((answer) => answer.id)).size).toBe(count);
    const refused = answers.filter((answer) => answer.type === 'error');
    expect(refused.length).toBeGreaterThan(0);
    expect(new Set(refused.map((answer) => answer.message))).toEqual(new Set(['64 requests are waiting already']));
    page.socket.terminate();
  });

  it('changes the faults of a proxy that runs, and keeps its connections', async () => {
    const server = createServer((socket) => void socket.pipe(socket).on('error', () => {}));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const page = await visit();
    expect(await page.asks('change', { faults: {} })).toMatchObject({ message: 'start the proxy first' });
    const to = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const started = await page.asks('chaos', { to, seed: 1, faults: { stall: 5000, down: { latency: 5000 } } });
    expect(started).toMatchObject({
      type: 'started',
      faults: [{}, { en: 'everything 5000 ms later (to the client)' }],
    });
    const { address } = started as { address: string };
    const client = connect(Number(address.split(':')[1]), '127.0.0.1');
    const heard = once(client, 'data') as Promise<[Buffer]>;
    client.write('x');
    expect(await page.asks('change', { faults: {} })).toEqual({ type: 'changed', id: expect.any(Number), faults: [] });
    expect((await within(heard, 'the byte that came back'))[0].toString()).toBe('x');
    client.destroy();
    page.socket.terminate();
    server.close();
  });

  it('answers a page that does not keep up with what it is told', async () => {
    let got = 0;
    const server = createServer(
      (socket) => void socket.on('error', () => {}).on('data', ({ length }) => (got += length)),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const page = await visit();
    const to = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const started = await page.asks('inspect', { to, framing: 'u32be', framingBack: 'u32be', pairs: false });
    const { address } = started as Extract<LabMessage, { type: 'started' }>;
    page.socket.pause();
    const client = connect(Number(address.split(':')[1]), '127.0.0.1').on('error', () => {});
    // Each read tells of thousands of messages: far more than may wait for a page.
    const messages = Buffer.alloc(1 << 20, Buffer.from([0, 0, 0, 1, 97]));
    client.write(messages);
    await until(() => got === messages.length, 'the server to get everything');
    const answer = page.asks('stop', { view: 'inspect' });
    await within(once(client, 'close'), 'the proxy to end');
    page.socket.resume();
    expect(await answer).toMatchObject({ type: 'stopped' });
    page.socket.terminate();
    server.close();
  });

  it('sends only messages the page accepts', async () => {
    const page = await visit();
    for (const name of ['sticky', 'udp', 'empty', 'prefix', 'rtt']) {
      await page.asks('show', { name });
      expect(await page.asks('pcap', { name })).toMatchObject({ type: 'pcap' });
    }
    await page.asks('experiment', { ...plain, messages: ['\u0000ÿ', ''], faults: { slice: 1, resetAfter: 5 } });
    for (const framing of ['u32be', 'guess', 'lines'])
      for (const start of [
        ['inspect', { to: 'demo', framing, framingBack: framing, pairs: true }],
        ['chaos', { to: 'demo', seed: 7, faults: { slice: 2, corrupt: 0.01, cutEvery: 30, halfClose: true } }],
      ] as const) {
        await page.asks(start[0], start[1]);
        await page.asks('traffic', { view: start[0] });
        await page.asks('stop', { view: start[0] });
        // What has passed can be saved after the end of the proxy.
        const { base64 } = (await page.asks('pcap', { name: start[0] })) as unknown as { base64: string };
        const bytes = Buffer.from(base64, 'base64');
        expect([bytes.readUInt32LE(0), bytes.includes('hello')]).toEqual([0xa1b2c3d4, true]);
      }
    const problems = page.heard.map((text) => readLabMessage(text)).filter((reading) => 'problem' in reading);
    expect(problems).toEqual([]);
    const kinds = new Set(page.heard.map((text) => (JSON.parse(text) as { event?: string }).event));
    expect([...kinds]).toEqual(
      expect.arrayContaining(['open', 'read', 'misfit', 'guess', 'pair', 'fault', 'end', 'close']),
    );
    page.socket.terminate();
  });
});
