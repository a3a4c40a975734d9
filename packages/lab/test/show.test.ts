/** The phenomena, as they are measured on this machine. */
import { Socket } from 'node:net';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { experiment, phenomena } from '@sendall/lab';
import { openDatagramPair } from '../dist/wire/datagrams.js';
import { finished, wirelab } from './programs.js';

interface Span {
  atMs: number;
  offset: number;
  length: number;
  text?: string;
}
interface Data {
  phenomenon: string;
  writes: Span[];
  reads: Span[];
  messages: Span[];
  observations: {
    name: string;
    writes: Span[];
    reads: Span[];
    messages: Span[];
    segments?: { source: string; count?: number };
    facts?: Record<string, unknown>;
  }[];
  explanation: string;
  table?: { rows: (string | number)[][] };
  notShown?: string;
}

async function show(name: string, ...words: string[]): Promise<Data> {
  const { code, stdout, stderr } = await finished(wirelab('show', name, '--json', ...words));
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout) as Data;
}

const lengths = (spans: Span[]) => spans.map((span) => span.length);
const texts = (spans: Span[]) => spans.map((span) => span.text);

describe('wirelab show', () => {
  it('sticky: three sends, one read, with Nagle and without; three reads with pauses', async () => {
    const { phenomenon, writes, reads, observations } = await show('sticky');
    expect(phenomenon).toBe('sticky');
    expect(texts(writes)).toEqual(['hello', 'world', 'egon']);
    expect(texts(reads)).toEqual(['helloworldegon']);
    const [, noDelay, lateAck, spaced] = observations;
    expect(lengths(noDelay!.reads)).toEqual([14]);
    expect(lateAck!.reads.reduce((sum, read) => sum + read.length, 0)).toBe(14);
    expect(lengths(spaced!.reads)).toEqual([5, 5, 4]);
    expect(['capture', 'kernel counters', 'not seen']).toContain(noDelay!.segments!.source);
    if (noDelay!.segments!.source !== 'not seen') expect(noDelay!.segments!.count).toBe(3);
  });

  it('leftover: each read takes the requested size, the next one continues', async () => {
    const { reads } = await show('leftover');
    expect(texts(reads)).toEqual(['h', 'ellow', 'o', 'rldegon']);
  });

  it('udp: every datagram is a message, and the largest one is found by trying', async () => {
    const { writes, reads, messages, observations } = await show('udp');
    expect(lengths(reads)).toEqual(lengths(writes));
    expect(texts(messages)).toEqual(['hello', 'world', 'egon']);
    expect(observations[1]!.facts).toMatchObject({ largest: 65_507, tooLarge: 65_508, error: 'EMSGSIZE' });
  });

  it('empty: a datagram carries it, TCP does not, a framing does', async () => {
    const { observations } = await show('empty');
    const [udp, tcp, framed] = observations;
    expect(lengths(udp!.reads)).toEqual([0]);
    expect(tcp!.reads).toEqual([]);
    expect(lengths(framed!.reads)).toEqual([4]);
    expect(lengths(framed!.messages)).toEqual([0]);
  });

  it('loss: TCP delivers everything in order, UDP does not; or it reports why this cannot be shown', async () => {
    const { observations, notShown, explanation } = await show('loss');
    if (notShown !== undefined) {
      expect(notShown).toMatch(/nftables|namespace/);
      expect(explanation).toContain('Nothing was lost');
      return;
    }
    const [tcp, udp] = observations;
    expect(tcp!.facts).toMatchObject({ whole: true });
    expect(Number(tcp!.facts!['droppedPackets'])).toBeGreaterThan(0);
    expect(udp!.facts!['lostMessages']).toBe(udp!.writes.length - udp!.reads.length);
    expect(Number(udp!.facts!['lostMessages'])).toBeGreaterThan(0);
  });

  it('ready: two sends there, two back, for one message', async () => {
    const { observations } = await show('ready');
    const [down, up] = observations;
    expect(texts(down!.writes)[0]).toBe('1400');
    expect(down!.writes).toHaveLength(2);
    expect(texts(up!.writes)).toEqual(['ls', 'ready']);
    expect(lengths(down!.messages)).toEqual([1400]);
  });

  it('prefix: the same messages from one read and from many', async () => {
    const { observations } = await show('prefix');
    for (const { messages } of observations) expect(texts(messages)).toEqual(['hello', 'world', 'egon']);
    expect(observations[1]!.reads.length).toBeGreaterThan(observations[0]!.reads.length);
  });

  it('rtt: a row for each round trip, and ready needs more than the prefix on a long path', async () => {
    const { table } = await show('rtt');
    expect(table!.rows.map((row) => row[0])).toEqual([0, 10, 50, 100]);
    const [, ready, prefix] = table!.rows.at(-1)! as number[];
    expect(ready!).toBeGreaterThan(prefix!);
  });

  it('concurrency: all clients are answered in every mode', async () => {
    const { observations, table } = await show('concurrency');
    expect(table!.rows.map((row) => row[0])).toEqual(['one at a time', 'event loop', 'threads', 'processes']);
    for (const { messages, writes } of observations) expect(messages).toHaveLength(writes.length);
  });

  it('speaks Chinese, and aligns writes with reads', async () => {
    const { stdout } = await finished(wirelab('show', 'leftover', '--lang', 'zh'));
    expect(stdout).toContain('一次发送，读取太小');
    expect(stdout).toMatch(/写入.*helloworldegon/);
    expect(stdout).toMatch(/测量结果: .*分 4 次读出/);
  });

  it('has two languages for everything', () => {
    for (const { title, chapter } of phenomena) {
      for (const each of [title, chapter]) expect(each.zh).toMatch(/[\u4e00-\u9fff]|recv/);
    }
  });
});

describe('an experiment whose process stands still behind a send', () => {
  it('reads it before the next one, which is to come a while later', async () => {
    const write = Reflect.get(Socket.prototype, 'write') as (...sent: unknown[]) => boolean;
    onTestFinished(() => void vi.restoreAllMocks());
    vi.spyOn(Socket.prototype, 'write').mockImplementation(function (this: Socket, ...sent: unknown[]) {
      // When the next send waits for its time already.
      queueMicrotask(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60));
      return Reflect.apply(write, this, sent);
    });
    const { trace } = await experiment({ messages: ['hello', 'world', 'egon'], delayMs: 20, segments: false });
    expect(trace.reads.map(({ bytes }) => bytes.toString())).toEqual(['hello', 'world', 'egon']);
  });
});

describe('datagrams that come while their process stands still', () => {
  it('are received', async () => {
    await using udp = await openDatagramPair();
    await udp.send(Buffer.from('hello'));
    const received = udp.received(1, 20);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60);
    await received;
    expect(udp.trace.reads.map(({ bytes }) => bytes.toString())).toEqual(['hello']);
  });
});

describe('the times of segments', () => {
  it.each([-10_000, -0.7, 0, 0.7, 10_000])(
    'lie between write and read, though the system clock is %s ms away',
    async (away) => {
      vi.spyOn(performance, 'timeOrigin', 'get').mockReturnValue(performance.timeOrigin - away);
      onTestFinished(() => void vi.restoreAllMocks());
      const { trace } = await experiment({ messages: ['hello', 'world'], noDelay: true, delayMs: 30 });
      // Without a capture there are no times.
      if (trace.segments?.source !== 'capture') return;
      expect(trace.segments.spans).toHaveLength(2);
      for (const [index, { atMs }] of trace.segments.spans.entries()) {
        expect(atMs).toBeGreaterThanOrEqual(trace.writes[index]!.atMs);
        expect(atMs).toBeLessThanOrEqual(trace.reads[index]!.atMs);
      }
    },
  );
});
