/** Captures: read in every format, put into order, written for other programs. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PcapExport, readCapture, type CaptureLimits, type ProxyEvent } from '@sendall/lab';
import { Connections, type CapturedEvent } from '../dist/capture/connections.js';
import { tcpPacket, udpPacket, type SegmentHeader } from '../dist/capture/ip-packet.js';
import { CaptureError, type Packet } from '../dist/capture/packet.js';
import { pcapHeader, pcapRecord } from '../dist/capture/pcap-file.js';
import { CaptureReader } from '../dist/capture/reader.js';
import { captureOf, FORMATS, framed, LINKS, rawCapture, type Format, type Link } from './captures.js';
import { finished, portOf, soon, wirelab } from './programs.js';

const run = promisify(execFile);
const client = { address: '10.0.0.1', port: 5000 };
const server = { address: '10.0.0.2', port: 80 };
const client6 = { address: 'fe80::1:2', port: 5000 };
const server6 = { address: '2001:db8::2', port: 80 };
const NOTHING = Buffer.alloc(0);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wirelab-capture-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** What a capture shows, in chunks of these sizes, and why it could not be read further. */
function readAll(
  file: Buffer,
  { chunks = [file.length], limits = {} }: { chunks?: readonly number[]; limits?: CaptureLimits } = {},
) {
  const reader = new CaptureReader(limits);
  const events: { event: CapturedEvent; atMs: number }[] = [];
  const packets: Packet[] = [];
  const connections = new Connections(reader.skipped, limits, (event, atMs) => events.push({ event, atMs }));
  let broken: CaptureError | undefined;
  try {
    for (let at = 0, i = 0; at < file.length; i++) {
      const end = Math.min(file.length, at + Math.max(1, chunks[i] ?? file.length));
      for (const packet of reader.push(file.subarray(at, end))) {
        packets.push(packet);
        connections.see(packet);
      }
      at = end;
    }
    reader.end();
  } catch (error) {
    if (!(error instanceof CaptureError)) throw error;
    broken = error;
  }
  connections.end();
  const { skipped, noted } = reader.skipped;
  return { events, packets, broken, skipped, noted };
}

/** The bytes of a direction, with zeros where they are missing, and how many are missing. */
function streamOf(events: readonly { event: CapturedEvent }[], direction: 'up' | 'down') {
  const parts: Buffer[] = [];
  let missing = 0;
  for (const { event } of events) {
    if (!('direction' in event) || event.direction !== direction) continue;
    if (event.type === 'read') parts.push(event.bytes);
    if (event.type === 'wire' && event.what === 'gap') {
      expect(event.offset).toBe(parts.reduce((sum, part) => sum + part.length, 0));
      parts.push(Buffer.alloc(event.length));
      missing += event.length;
    }
  }
  return { bytes: Buffer.concat(parts), missing };
}

const text = (event: CapturedEvent) => (event.type === 'read' ? event.bytes.toString() : event.type);

/** A connection that says this, with sequence numbers that begin here. */
function said(up: string, down: string, { six = false, isn = 1000 } = {}): Buffer[] {
  const [from, to] = six ? [client6, server6] : [client, server];
  const packet = (there: boolean, header: SegmentHeader, payload = NOTHING) =>
    tcpPacket(there ? from : to, there ? to : from, header, payload);
  const upEnd = isn + 1 + up.length;
  const downEnd = isn + 501 + down.length;
  return [
    packet(true, { sequence: isn, syn: true }),
    packet(false, { sequence: isn + 500, acknowledged: isn + 1, syn: true }),
    packet(true, { sequence: isn + 1, acknowledged: isn + 501 }, Buffer.from(up)),
    packet(false, { sequence: isn + 501, acknowledged: upEnd }, Buffer.from(down)),
    packet(true, { sequence: upEnd, acknowledged: downEnd, fin: true }),
    packet(false, { sequence: downEnd, acknowledged: upEnd + 1, fin: true }),
    packet(true, { sequence: upEnd + 1, acknowledged: downEnd + 1 }),
  ];
}

describe('a capture', () => {
  const cases = LINKS.flatMap((link) => [false, true].map((six): [Link, boolean] => [link, six]));
  it.each(FORMATS)('is read in the format %s with frames of every link type, for IPv4 and IPv6', (format: Format) => {
    for (const [link, six] of cases) {
      const packets = said('hello', 'world', { six });
      const frames = packets.map((ip, i) => ({ bytes: framed(link, ip), us: 1_700_000_000_000_000 + i * 1500 }));
      const file = captureOf(format, link, frames);
      const expected = ['open', 'hello', 'world', 'end', 'end', 'close'];
      const whole = readAll(file);
      expect(whole.events.map(({ event }) => text(event))).toEqual(expected);
      expect(whole.broken).toBeUndefined();
      expect(whole.events[0]!.event).toEqual({
        type: 'open',
        connection: 1,
        client: six ? '[fe80::1:2]:5000' : '10.0.0.1:5000',
        server: six ? '[2001:db8::2]:80' : '10.0.0.2:80',
        protocol: 'tcp',
      });
      if (!format.endsWith('simple')) expect(whole.events[1]!.atMs).toBeCloseTo(3, 2);
      expect(readAll(file, { chunks: [...file].map(() => 7) }).events).toEqual(whole.events);
    }
  });

  it('is read the same however its bytes arrive', () => {
    const frames = said('hello', 'world').map((ip, i) => ({ bytes: framed('ethernet', ip), us: i }));
    fc.assert(
      fc.property(fc.constantFrom(...FORMATS), fc.array(fc.integer({ min: 1, max: 90 })), (format, chunks) => {
        const file = captureOf(format, 'ethernet', frames);
        expect(readAll(file, { chunks }).events).toEqual(readAll(file).events);
      }),
    );
  });

  it('shows datagrams, and names what it leaves out', () => {
    const arp = Buffer.concat([Buffer.alloc(12), Buffer.from('0806', 'hex'), Buffer.alloc(28)]);
    const fragment = udpPacket(client, server, Buffer.from('part'));
    fragment.writeUInt16BE(0x2000, 6);
    const icmp = Buffer.from(fragment);
    icmp.writeUInt16BE(0, 6);
    icmp[9] = 1;
    const datagrams = [udpPacket(client, server, Buffer.from('ask')), udpPacket(server, client, NOTHING)];
    const frames = [...datagrams, fragment, icmp].map((ip) => ({ bytes: framed('ethernet', ip), us: 5 }));
    const { events, skipped, broken } = readAll(
      captureOf('pcap le us', 'ethernet', [...frames, { bytes: arp, us: 6 }]),
    );
    expect(events.map(({ event }) => text(event))).toEqual(['open', 'ask', '', 'close']);
    expect(Object.fromEntries(skipped)).toEqual({ 'IP fragments': 1, 'packets of ICMP': 1, 'frames of ARP': 1 });
    expect(broken).toBeUndefined();
  });

  it('of which only the beginnings were kept has gaps in its connections', () => {
    const frames = said('hello and more', 'world').map((ip, us) => {
      const kept = ip.subarray(0, 45);
      return { bytes: framed('raw', kept), us, cut: ip.length - kept.length };
    });
    const { events, noted } = readAll(captureOf('pcap le us', 'raw', frames));
    expect(streamOf(events, 'up')).toEqual({ bytes: Buffer.from('hello\0\0\0\0\0\0\0\0\0'), missing: 9 });
    expect(events.filter(({ event }) => event.type === 'end')).toHaveLength(2);
    expect(noted.get('gaps in connections')).toBe(1);
  });
});

describe('the bytes of a connection', () => {
  const content = fc.uint8Array({ minLength: 1, maxLength: 400 }).map((bytes) => Buffer.from(bytes));
  /** Pieces of a stream: each begins anywhere, and together they have every byte at least once. */
  const pieces = (bytes: Buffer) =>
    fc
      .tuple(
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 12 }),
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 80 })), { maxLength: 8 }),
      )
      .chain(([sizes, more]) => {
        const all: [from: number, to: number][] = more.map(([from, size]) => [
          from,
          Math.min(bytes.length, from + size),
        ]);
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const end = Math.min(bytes.length, at + sizes[i % sizes.length]!);
          all.push([at, end]);
          at = end;
        }
        return fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length });
      });
  const isn = fc.oneof(fc.nat(2 ** 32 - 1), fc.integer({ min: 2 ** 32 - 300, max: 2 ** 32 - 1 }));
  const stream = content.chain((bytes) => fc.record({ bytes: fc.constant(bytes), pieces: pieces(bytes), isn }));

  it('come out whole and in order from segments in any order, repeated, overlapping, across the wrap', () => {
    fc.assert(
      fc.property(stream, stream, (up, down) => {
        const opening = [
          tcpPacket(client, server, { sequence: up.isn, syn: true }, NOTHING),
          tcpPacket(server, client, { sequence: down.isn, acknowledged: up.isn + 1, syn: true }, NOTHING),
        ];
        const segments = [
          ...up.pieces.map(([from, to]) =>
            tcpPacket(client, server, { sequence: up.isn + 1 + from, acknowledged: 0 }, up.bytes.subarray(from, to)),
          ),
          ...down.pieces.map(([from, to]) =>
            tcpPacket(
              server,
              client,
              { sequence: down.isn + 1 + from, acknowledged: 0 },
              down.bytes.subarray(from, to),
            ),
          ),
        ];
        const ends = [
          tcpPacket(client, server, { sequence: up.isn + 1 + up.bytes.length, fin: true }, NOTHING),
          tcpPacket(server, client, { sequence: down.isn + 1 + down.bytes.length, fin: true }, NOTHING),
        ];
        const { events, broken } = readAll(rawCapture([...opening, ...segments, ...ends]));
        expect(broken).toBeUndefined();
        expect(streamOf(events, 'up')).toEqual({ bytes: up.bytes, missing: 0 });
        expect(streamOf(events, 'down')).toEqual({ bytes: down.bytes, missing: 0 });
        expect(events.at(-1)!.event).toEqual({
          type: 'close',
          connection: 1,
          up: up.bytes.length,
          down: down.bytes.length,
        });
      }),
    );
  });

  it('that the capture lacks are gaps at their place, and no others', () => {
    fc.assert(
      fc.property(stream, fc.nat(), ({ bytes, pieces: all, isn: first }, drop) => {
        const kept = all.filter((_, i) => i !== drop % all.length);
        const have = new Set(kept.flatMap(([from, to]) => Array.from({ length: to - from }, (_, i) => from + i)));
        const packets = [
          tcpPacket(client, server, { sequence: first, syn: true }, NOTHING),
          ...kept.map(([from, to]) =>
            tcpPacket(client, server, { sequence: first + 1 + from }, bytes.subarray(from, to)),
          ),
          tcpPacket(client, server, { sequence: first + 1 + bytes.length, fin: true }, NOTHING),
        ];
        const seen = streamOf(readAll(rawCapture(packets)).events, 'up');
        expect(seen.missing).toBe(bytes.length - have.size);
        expect([...seen.bytes]).toEqual([...bytes].map((byte, at) => (have.has(at) ? byte : 0)));
      }),
    );
  });

  it('follow behind a gap when their receiver has acknowledged them and the capture goes on', () => {
    const at = (sequence: number, payload: string) =>
      tcpPacket(client, server, { sequence, acknowledged: 1 }, Buffer.from(payload));
    const acknowledged = tcpPacket(server, client, { sequence: 1, acknowledged: 120 }, NOTHING);
    const packets = [at(100, 'hello'), at(110, 'later'), ...Array.from({ length: 50 }, () => acknowledged)];
    const shown = readAll(rawCapture(packets)).events;
    const place = shown.findIndex(({ event }) => event.type === 'wire' && event.what === 'gap');
    expect(shown[place]!.event).toMatchObject({ offset: 5, length: 5, reason: 'not in the capture' });
    expect(text(shown[place + 1]!.event)).toBe('later');
    expect(shown[place]!.atMs).toBeLessThan(50);
  });

  it('are given up at once when both sides have acknowledged the end', () => {
    const whole = said('hello', 'world');
    const { events } = readAll(rawCapture([...whole.filter((_, i) => i !== 2), ...said('later', '', { isn: 70_000 })]));
    const first = events.filter(({ event }) => 'connection' in event && event.connection === 1);
    expect(first.map(({ event }) => text(event))).toEqual(['open', 'world', 'end', 'wire', 'end', 'close']);
    expect(first.at(-1)).toEqual({ event: { type: 'close', connection: 1, up: 0, down: 5 }, atMs: 4 });
  });

  it('belong to another connection when the same addresses begin again', () => {
    const packets = [...said('first', 'one', { isn: 1000 }), ...said('second', 'two', { isn: 90_000 })];
    const { events } = readAll(rawCapture(packets));
    expect(events.map(({ event }) => `${'connection' in event && event.connection} ${text(event)}`)).toEqual(
      [1, 2].flatMap((n) =>
        ['open', n === 1 ? 'first' : 'second', n === 1 ? 'one' : 'two', 'end', 'end', 'close'].map(
          (what) => `${n} ${what}`,
        ),
      ),
    );
  });

  it('end with a reset, and it says whose', () => {
    const [syn, accepted, data] = said('hello', '');
    const reset = tcpPacket(server, client, { sequence: 1501, rst: true }, NOTHING);
    const { events } = readAll(rawCapture([syn!, accepted!, data!, reset]));
    expect(events.at(-1)!.event).toMatchObject({ type: 'close', error: 'reset by the server', reset: 'down', up: 5 });
  });
});

describe('a damaged or hostile capture', () => {
  const good = (format: Format) =>
    captureOf(
      format,
      'ethernet',
      said('hello', 'world').map((ip, us) => ({ bytes: framed('ethernet', ip), us })),
    );

  it('is read up to its damage, which is named with its place', () => {
    fc.assert(
      fc.property(fc.constantFrom(...FORMATS), fc.nat(), (format, cut) => {
        const file = good(format);
        const at = cut % file.length;
        const { broken, packets } = readAll(file.subarray(0, at));
        const whole = readAll(file).packets;
        expect(packets).toEqual(whole.slice(0, packets.length));
        // Between two packets a cut file cannot be told from a shorter one.
        if (broken) expect(broken.message).toMatch(/ends at byte \d+, inside|is empty/);
        else expect(readAll(file.subarray(0, at)).packets.length).toBeLessThan(whole.length + 1);
      }),
    );
  });

  it('never brings anything but packets and a CaptureError, whatever its bytes', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.constantFrom(...FORMATS), damage, (format, changes) => {
        const file = Buffer.from(good(format));
        for (const [place, byte] of changes) file[place % file.length] = byte;
        const { packets } = readAll(file);
        expect(packets.length).toBeLessThanOrEqual(20);
      }),
      { numRuns: 500 },
    );
    fc.assert(
      fc.property(fc.constantFrom(...FORMATS), fc.uint8Array({ maxLength: 300 }), (format, bytes) => {
        readAll(Buffer.concat([good(format), bytes]));
        readAll(Buffer.from(bytes));
      }),
    );
  });

  it.each([
    ['pcap le us', 24 + 8, /packet 1 at byte 24 claims 4294967295 bytes, more than the 262144 allowed/],
    ['pcapng le', 4, /the block at byte 0 claims 4294967292 bytes, more than the 327680 allowed/],
  ] as const)('of the format %s cannot claim 4 GiB', (format, place, message) => {
    const file = good(format);
    file.writeUInt32LE(format === 'pcapng le' ? 0xfffffffc : 0xffffffff, place);
    expect(readAll(file).broken?.message).toMatch(message);
  });

  it('cannot make a loop of a block without a length', () => {
    const file = good('pcapng le');
    file.writeUInt32LE(0, 28 + 4);
    expect(readAll(file).broken).toMatchObject({ offset: 28, message: expect.stringMatching(/claims 0 bytes/) });
  });

  it('may have an unknown block of 4 GiB, of which nothing is kept', () => {
    const block = Buffer.from('78563412fcffffff', 'hex');
    const { broken, skipped } = readAll(Buffer.concat([good('pcapng le'), block, Buffer.alloc(1000)]));
    expect(broken?.message).toMatch(/inside the block behind packet 7/);
    expect(skipped.get('blocks of type 0x12345678')).toBe(1);
  });

  it('of a million tiny packets is read up to the limit', () => {
    const reader = new CaptureReader({ packets: 10_000 });
    const tiny = Buffer.concat(Array.from({ length: 1000 }, () => pcapRecord(1, Buffer.from([0x45]))));
    let count = 0;
    const read = () => {
      for (const _ of reader.push(pcapHeader())) count++;
      for (let i = 0; i < 1000; i++) for (const _ of reader.push(tiny)) count++;
    };
    expect(read).toThrow('the capture has more than 10000 packets, the limit');
    expect(count).toBe(10_000);
  });

  it('of many connections lets those go that are idle for longest', () => {
    const packets = Array.from({ length: 500 }, (_, i) =>
      tcpPacket({ address: '10.0.0.1', port: 1000 + i }, server, { sequence: 1, syn: true }, NOTHING),
    );
    const { events, noted } = readAll(rawCapture(packets), { limits: { connections: 100 } });
    const closed = events.filter(({ event }) => event.type === 'close');
    expect(closed).toHaveLength(500);
    expect(closed[0]!.event).toMatchObject({ connection: 1, error: 'let go: more than 100 connections were open' });
    expect([...noted.values()]).toEqual([400]);
  });

  it.each([{ heldSegments: 10 }, { heldBytes: 2000 }])('holds no more than it may: %o', (limits) => {
    const packets = Array.from({ length: 300 }, (_, i) =>
      tcpPacket(client, server, { sequence: 10 + 2 * i }, Buffer.from('x')),
    );
    const { events } = readAll(rawCapture([tcpPacket(client, server, { sequence: 1 }, Buffer.from('a')), ...packets]), {
      limits,
    });
    const early = (upTo: number) =>
      events.slice(0, upTo).filter(({ event }) => event.type === 'wire' && event.what === 'early').length;
    const firstGap = events.findIndex(({ event }) => event.type === 'wire' && event.what === 'gap');
    expect(early(firstGap)).toBeLessThanOrEqual(20);
    expect(streamOf(events, 'up').bytes.filter((byte) => byte === 120)).toHaveLength(300);
  });
});

/** What tcpdump says of a capture: a line for each packet, and its complaints. */
async function tcpdump(file: string): Promise<{ lines: string[]; complaints: string[] }> {
  const { stdout, stderr } = await run('tcpdump', ['-nn', '-vv', '-S', '-r', file], { maxBuffer: 1 << 26 });
  const complaints = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('reading from file'));
  return { lines: stdout.split('\n').filter(Boolean), complaints };
}

describe('an exported capture', () => {
  it('is read by tcpdump without a complaint, with right checksums, and back by us as it was', async () => {
    const events: [ProxyEvent, number][] = [
      [{ type: 'open', connection: 1, client: '127.0.0.1:5000' }, 0],
      [{ type: 'open', connection: 2, client: '[::1]:5001' }, 0.5],
      [{ type: 'open', connection: 3, client: 'unix' }, 0.6],
      [{ type: 'read', connection: 1, direction: 'up', bytes: Buffer.from('hello') }, 1],
      [{ type: 'read', connection: 2, direction: 'up', bytes: Buffer.from('odd') }, 1.5],
      [{ type: 'read', connection: 1, direction: 'down', bytes: Buffer.alloc(150_001, 'x') }, 2],
      [{ type: 'end', connection: 1, direction: 'up' }, 3],
      [{ type: 'end', connection: 1, direction: 'down' }, 3],
      [{ type: 'close', connection: 1, up: 5, down: 150_001 }, 3],
      [{ type: 'close', connection: 2, up: 3, down: 0, error: 'ECONNRESET' }, 4],
    ];
    const file = join(folder, 'exported.pcap');
    const writing = new PcapExport(
      file,
      () => 1_700_000_000_000,
      '127.0.0.1:8080',
      (why) => expect.unreachable(why),
    );
    for (const [event, atMs] of events) writing.see(event, atMs);
    writing.close();
    const { lines, complaints } = await tcpdump(file);
    expect(complaints).toEqual([]);
    expect(lines.join('\n')).not.toMatch(/incorrect|bad|truncated|\[\|/);
    expect(lines.join('\n')).toMatch(
      /127\.0\.0\.1\.5000 > 127\.0\.0\.1\.8080: Flags \[S\], cksum 0x[0-9a-f]{4} \(correct\)/,
    );
    expect(lines.join('\n')).toMatch(/::1\.8080 > ::1\.5001: Flags \[R/);
    const again = readCapture(file);
    const shown: ProxyEvent[] = [];
    for await (const { event } of again.events) shown.push(event);
    expect(again.broken).toBeUndefined();
    const bytes = (connection: number, direction: string) =>
      Buffer.concat(
        shown.flatMap((event) =>
          event.type === 'read' && event.connection === connection && event.direction === direction
            ? [event.bytes]
            : [],
        ),
      ).length;
    expect([bytes(1, 'up'), bytes(1, 'down'), bytes(2, 'up')]).toEqual([5, 150_001, 3]);
    expect(shown.filter(({ type }) => type === 'wire')).toEqual([]);
    expect(shown.at(-1)).toMatchObject({ type: 'close', connection: 3, error: 'open when the capture ended' });
  });

  it('has every byte of any dialogue', async () => {
    const step = fc.record({
      connection: fc.integer({ min: 1, max: 3 }),
      up: fc.boolean(),
      bytes: fc.uint8Array({ maxLength: 50 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 30 }),
        fc.constantFrom('127.0.0.1', '[::1]'),
        async (steps, host) => {
          const file = join(folder, 'dialogue.pcap');
          const writing = new PcapExport(
            file,
            () => 0,
            `${host}:80`,
            (why) => expect.unreachable(why),
          );
          const sent = new Map<string, Buffer>();
          for (const connection of [1, 2, 3]) {
            writing.see({ type: 'open', connection, client: `${host}:${5000 + connection}` }, 0);
          }
          for (const [i, { connection, up, bytes }] of steps.entries()) {
            const direction = up ? 'up' : 'down';
            const key = `${connection} ${direction}`;
            sent.set(key, Buffer.concat([sent.get(key) ?? NOTHING, bytes]));
            writing.see({ type: 'read', connection, direction, bytes: Buffer.from(bytes) }, i);
          }
          writing.close();
          const got = new Map<string, Buffer>();
          for await (const { event } of readCapture(file).events) {
            if (event.type !== 'read') continue;
            const key = `${event.connection} ${event.direction}`;
            got.set(key, Buffer.concat([got.get(key) ?? NOTHING, event.bytes]));
          }
          for (const [key, bytes] of sent) if (bytes.length > 0) expect(got.get(key)).toEqual(bytes);
        },
      ),
      { numRuns: 30 },
    );
  });

  it('of phenomena’s runs has their real segments where they were seen', async () => {
    const file = join(folder, 'shown.pcap');
    const { code, stdout } = await finished(wirelab('show', 'sticky', 'empty', '--json', '--export', file));
    expect(code).toBe(0);
    const { lines, complaints } = await tcpdump(file);
    expect(complaints).toEqual([]);
    expect(lines.join('\n')).not.toMatch(/incorrect|bad|truncated/);
    const shown = (JSON.parse(stdout.split('\n')[0]!) as { observations: { writes: { length: number }[] }[] })
      .observations;
    const { events } = readAll(await readFile(file));
    expect(events.filter(({ event }) => event.type === 'open')).toHaveLength(shown.length + 3);
    const first = events.filter(({ event }) => 'connection' in event && event.connection === 1);
    expect(streamOf(first, 'up').bytes.toString()).toBe('helloworldegon');
  });
});

describe('wirelab inspect --pcap', () => {
  const capture = async (name: string, bytes: Buffer) => {
    const file = join(folder, name);
    await writeFile(file, bytes);
    return file;
  };

  it('shows segments and messages, what came again, early or not at all, and what was left out', async () => {
    const at = (sequence: number, payload: string) =>
      tcpPacket(client, server, { sequence, acknowledged: 1 }, Buffer.from(payload));
    const [syn, accepted] = said('', '');
    const icmp = udpPacket(client, server, NOTHING);
    icmp[9] = 1;
    const file = await capture(
      'trouble.pcap',
      rawCapture([
        syn!,
        accepted!,
        at(1001, 'hello\nwor'),
        at(1001, 'hello\n'),
        at(1016, 'egon\n'),
        at(1010, 'ld\n'),
        icmp,
      ]),
    );
    const { code, stdout, stderr } = await finished(wirelab('inspect', '--pcap', file, '--framing', 'lines'));
    expect(stdout).toContain('#1 opened by 10.0.0.1:5000 to 10.0.0.2:80');
    expect(stdout).toContain('#1 → segment of 9 bytes at 0: 1 message, and the beginning of the next');
    expect(stdout).toContain('#1 → bytes 0 to 6 came again');
    expect(stdout).toContain('#1 → bytes 15 to 20 came early, before those in front of them');
    expect(stdout).toContain('#1 → segment of 3 bytes at 9: the rest of message 1');
    expect(stdout).toContain('#1 → bytes 12 to 15 are missing: not in the capture');
    expect(stdout).toContain('message 2, bytes 15 to 20: egon');
    expect(stderr).toContain('wirelab: left out of 7 packets: 1 packets of ICMP');
    expect(stderr).toContain('wirelab: there were 1 gaps in connections');
    expect(code).toBe(0);
  });

  it('reads stdin, guesses the framing, and ends with 1 where the capture is cut', async () => {
    const lines = Array.from({ length: 20 }, (_, i) => `line ${i}\n`).join('');
    const bytes = rawCapture(said(lines, 'ok\nok\nok\nok\n'));
    const inspect = wirelab('inspect', '--pcap', '-', '--json');
    inspect.child.stdin!.write(bytes.subarray(0, bytes.length - 3));
    const { code, stdout, stderr } = await finished(inspect);
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string; framing?: string });
    expect(events.map(({ event }) => event)).toContain('guess');
    expect(events.at(-1)).toMatchObject({
      event: 'capture',
      packets: 6,
      broken: expect.stringMatching(/inside packet 7/),
    });
    expect(stderr).toMatch(/stdin was read up to packet 6: the capture ends at byte \d+, inside packet 7/);
    expect(code).toBe(1);
  });

  it('refuses what is no capture, and options for live traffic', async () => {
    const file = await capture('none.pcap', Buffer.from('hello'));
    const none = await finished(wirelab('inspect', '--pcap', file));
    expect(none.stderr).toMatch(/was read up to packet 0: it begins with 68656c6c, neither pcap nor pcapng/);
    expect(none.code).toBe(1);
    const both = await finished(wirelab('inspect', '--pcap', file, '--listen', '0'));
    expect(both).toMatchObject({ code: 200, stderr: expect.stringMatching(/--listen is for live traffic/) });
    const limit = await finished(wirelab('inspect', '--pcap', file, '--limit', 'packet=1'));
    expect(limit).toMatchObject({ code: 200, stderr: expect.stringMatching(/--limit has no "packet"/) });
  });
});

describe('wirelab replay of a capture', () => {
  async function receiver() {
    const got: string[] = [];
    const listening = createServer({ allowHalfOpen: true }, (socket) => {
      let all = '';
      socket
        .on('data', (bytes) => (all += bytes.toString()))
        .on('end', () => {
          got.push(all);
          socket.end('thanks');
        });
    });
    listening.listen(0, '127.0.0.1');
    await once(listening, 'listening');
    const { port } = listening.address() as AddressInfo;
    return { got, to: `127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => void listening.close() };
  }

  it('sends one connection’s client bytes to a server, as fast as it can', async () => {
    const file = join(folder, 'replayed.pcap');
    const [from] = [{ address: '10.0.0.3', port: 7000 }];
    const others = [
      tcpPacket(from, server, { sequence: 1, syn: true }, NOTHING),
      tcpPacket(from, server, { sequence: 2 }, Buffer.from('another')),
    ];
    const packets = [...others, ...said('hello world', 'answer')];
    await writeFile(file, Buffer.concat([pcapHeader(), ...packets.map((packet, i) => pcapRecord(i * 60_000, packet))]));
    await using to = await receiver();
    const { code, stdout } = await finished(
      wirelab(
        'replay',
        file,
        '--connection',
        '2',
        '--to',
        to.to,
        '--speed',
        'max',
        '--framing',
        'raw',
        '--patience',
        '60',
      ),
    );
    expect({ code, got: to.got }).toEqual({ code: 0, got: ['hello world'] });
    expect(stdout).toContain('#2 closed after 11 bytes there and 6 back');
  });

  it('sends nothing behind bytes that the capture lacks, and says so', async () => {
    const file = join(folder, 'lacking.pcap');
    const [syn, accepted] = said('', '');
    const at = (sequence: number, payload: string) => tcpPacket(client, server, { sequence }, Buffer.from(payload));
    const fin = tcpPacket(client, server, { sequence: 1021, fin: true }, NOTHING);
    await writeFile(file, rawCapture([syn!, accepted!, at(1001, 'hello'), at(1016, 'later'), fin]));
    await using to = await receiver();
    const { code, stderr } = await finished(wirelab('replay', file, '--to', to.to, '--patience', '60'));
    expect(stderr).toContain(
      'connection 1: 5 of 5 bytes were taken: bytes 5 to 15 of the client are not in the capture',
    );
    expect(code).toBe(1);
    await soon(() => to.got).toEqual(['hello']);
  });

  it('turns a record into a capture', async () => {
    await using to = await receiver();
    const [record, live, file] = ['live.jsonl', 'live.pcap', 'turned.pcap'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const inspect = wirelab(
      'inspect',
      '--listen',
      '0',
      '--to',
      to.to,
      '--framing',
      'raw',
      '--record',
      record,
      '--export',
      live,
    );
    const socket = connect(Number(await portOf(inspect)), '127.0.0.1');
    socket.end('hello').resume();
    await inspect.says(/closed after/);
    inspect.child.kill('SIGINT');
    expect((await finished(inspect)).code).toBe(0);
    expect((await finished(wirelab('replay', record, '--export', file))).code).toBe(0);
    for (const each of [live, file]) {
      const { events } = readAll(await readFile(each));
      expect(events.map(({ event }) => text(event))).toEqual(['open', 'hello', 'end', 'thanks', 'end', 'close']);
      expect(events[0]!.event).toMatchObject({ server: to.to });
      expect((await tcpdump(each)).complaints).toEqual([]);
    }
  });
});
