import { once } from 'node:events';
import { isIP, isIPv4, isIPv6 } from 'node:net';
import { parseProxyHeader, parseProxyTlvs, ProxyHeaderError, serve, type ProxyHeader } from '@sendall/socketserver';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { closing, dial } from './support/rows.js';

const signature = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

function tlv(type: number, value: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 255]), value]);
}

function v2(transport: number, ...body: Uint8Array[]): Buffer {
  const bytes = Buffer.concat(body);
  return Buffer.concat([signature, Buffer.from([0x21, transport, bytes.length >> 8, bytes.length & 255]), bytes]);
}

const ipv4 = Buffer.from([192, 0, 2, 1, 198, 51, 100, 2, 0x10, 0x00, 0x01, 0xbb]);

/** The error's text, or what was understood instead. */
function refusal(bytes: Buffer | string): string {
  try {
    return JSON.stringify(parseProxyHeader(Buffer.from(bytes as string)));
  } catch (error) {
    expect(error).toBeInstanceOf(ProxyHeaderError);
    return (error as Error).message;
  }
}

describe('what is refused', () => {
  test.each([
    'TCP4 999.1.1.1 300.300.300.300 1 2',
    'TCP4 1.2.3.4 1.2.3.256 1 2',
    'TCP4 01.02.3.4 1.2.3.4 1 2',
    'TCP4 1.2.3 1.2.3.4 1 2',
    'TCP4 ::1 ::1 1 2',
    'TCP6 1.2.3.4 1.2.3.4 1 2',
    'TCP6 :::: ::1 1 2',
    'TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2',
    'TCP6 fe80::1%eth0 ::1 1 2',
    'TCP6 12345::1 ::1 1 2',
    'TCP4 1.2.3.4 1.2.3.4 01 2',
    'TCP4 1.2.3.4 1.2.3.4 65536 2',
    'TCP4 1.2.3.4 1.2.3.4 -1 2',
    'TCP4 1.2.3.4  1.2.3.4 1 2',
    'TCP4 1.2.3.4 1.2.3.4 1 2 ',
    'tcp4 1.2.3.4 1.2.3.4 1 2',
    'UDP4 1.2.3.4 1.2.3.4 1 2',
  ])('version 1: %s', (line) => {
    expect(refusal(`PROXY ${line}\r\n`)).toMatch(/^the PROXY line is malformed: "PROXY /);
  });

  test.each([
    [0x10, 'IPv4 without a protocol'],
    [0x12, 'a datagram, which no stream carries'],
    [0x13, 'a protocol that there is not'],
    [0x01, 'a stream of no family'],
    [0x22, 'a datagram over IPv6'],
    [0x32, 'a Unix datagram'],
    [0x41, 'a family that there is not'],
    [0xff, 'neither'],
  ])('version 2: transport %i, %s', (transport) => {
    expect(refusal(v2(transport, Buffer.alloc(216)))).toMatch(/for transport 0x[0-9a-f]{2}: not one of a stream/);
  });

  test.each([
    ['a length beyond the header', v2(0x11, ipv4, Buffer.from([5, 0, 2, 1]))],
    ['no room for a length', v2(0x11, ipv4, Buffer.from([5, 0]))],
    ['a TLS extension without its first bytes', v2(0x11, ipv4, tlv(0x20, Buffer.from([1, 0, 0])))],
    ['a part of the TLS extension beyond it', v2(0x11, ipv4, tlv(0x20, Buffer.from([1, 0, 0, 0, 0, 0x21, 0, 9])))],
    ['a checksum of two bytes', v2(0x11, ipv4, tlv(3, Buffer.alloc(2)))],
    ['a wrong checksum', v2(0x11, ipv4, tlv(3, Buffer.alloc(4)))],
    ['an extension that does not fit behind no addresses', v2(0x00, Buffer.from([5, 1, 0]))],
  ])('version 2: %s', (_name, header) => {
    expect(refusal(header)).toMatch(/extension|checksum/);
  });

  test('a length above the limit and addresses that are not there, before the bytes themselves came', () => {
    const start = Buffer.concat([signature, Buffer.from([0x21, 0x11])]);
    expect(refusal(Buffer.concat([start, Buffer.from([0xff, 0xff])]))).toMatch(/more than 4096/);
    expect(refusal(Buffer.concat([start, Buffer.from([0, 11])]))).toMatch(/11 bytes of addresses/);
  });
});

test('the checksum that haproxy would send is taken', () => {
  // CRC-32C of "123456789" is e3069283: the polynomial's own test. Here over the header with zeros in its place.
  const header = v2(0x11, ipv4, tlv(4, Buffer.alloc(3)), tlv(3, Buffer.alloc(4)));
  let sum = 0xffff_ffff;
  for (const byte of header)
    for (let bit = 0, b = byte; bit < 8; bit++, b >>= 1) sum = (sum >>> 1) ^ (((sum ^ b) & 1) * 0x82f63b78);
  header.writeUInt32BE(~sum >>> 0, header.length - 4);
  expect(parseProxyHeader(header)?.tlvs.map(({ type }) => type)).toEqual([3]);
});

test('a LOCAL header says nothing about addresses, whatever it has of them', () => {
  const header = v2(0x7f, Buffer.from('what a health check puts there'));
  header[12] = 0x20;
  expect(parseProxyHeader(header)).toEqual({ version: 2, length: header.length, tlvs: [] });
});

test('the extensions reach the handler, those for TLS can be taken apart', async () => {
  const inside = tlv(0x21, Buffer.from('TLSv1.3'));
  const ssl = Buffer.concat([Buffer.from([7, 0, 0, 0, 0]), inside]);
  const header = v2(0x11, ipv4, tlv(2, Buffer.from('example.org')), tlv(4, Buffer.alloc(2)), tlv(0x20, ssl));
  const seen: (ProxyHeader | undefined)[] = [];
  const address = { host: '127.0.0.1', port: 0 };
  const options = { proxyProtocol: 'optional' } as const;
  const server = closing(await serve(address, ({ proxyHeader }) => void seen.push(proxyHeader), options));
  for (const bytes of [header, Buffer.from('none at all')]) {
    const client = dial(server);
    const closed = once(server, 'close');
    client.socket.write(bytes);
    client.socket.end();
    await closed;
  }
  const [first, second] = seen;
  expect(first).toMatchObject({ version: 2, length: header.length, peer: { host: '192.0.2.1', port: 4096 } });
  expect(first!.tlvs.map(({ type }) => type)).toEqual([2, 0x20]);
  expect(String(first!.tlvs[0]!.value)).toBe('example.org');
  expect(parseProxyTlvs(first!.tlvs[1]!.value.subarray(5))).toEqual([{ type: 0x21, value: Buffer.from('TLSv1.3') }]);
  expect(second).toBeUndefined();
});

describe('laws', () => {
  const port = fc.nat(65_535);
  const bytes = (most: number) => fc.uint8Array({ maxLength: most });
  const extensions = fc.array(fc.tuple(fc.integer({ min: 0x40, max: 0xff }), bytes(60)), { maxLength: 5 });
  const pack = (list: [number, Uint8Array][]) => Buffer.concat(list.map(([type, value]) => tlv(type, value)));

  const line = fc.oneof(
    fc.tuple(fc.constant('TCP4'), fc.ipV4(), fc.ipV4(), port, port),
    fc.tuple(fc.constant('TCP6'), fc.ipV6(), fc.ipV6(), port, port),
  );
  const packet = fc
    .tuple(fc.constantFrom(0x11, 0x21, 0x31, 0x00), bytes(216), extensions)
    .map(([transport, some, list]) => {
      const need = { 0x11: 12, 0x21: 36, 0x31: 216, 0x00: 0 }[transport]!;
      const addresses = Buffer.alloc(need);
      addresses.set(some.subarray(0, need));
      return { header: v2(transport, addresses, pack(list)), list };
    });

  test('a line is read as it was written, and never before its end', () => {
    fc.assert(
      fc.property(line, bytes(20), ([protocol, from, to, fromPort, toPort], rest) => {
        const header = Buffer.from(`PROXY ${protocol} ${from} ${to} ${fromPort} ${toPort}\r\n`);
        const expected = { peer: { host: from, port: fromPort }, local: { host: to, port: toPort } };
        expect(parseProxyHeader(Buffer.concat([header, rest]))).toMatchObject({ length: header.length, ...expected });
        for (let cut = 1; cut < header.length; cut++) expect(parseProxyHeader(header.subarray(0, cut))).toBeUndefined();
      }),
    );
  });

  test('so is a packet, with its extensions', () => {
    fc.assert(
      fc.property(packet, bytes(20), ({ header, list }, rest) => {
        const read = parseProxyHeader(Buffer.concat([header, rest]));
        expect(read!.length).toBe(header.length);
        expect(read!.tlvs).toEqual(list.map(([type, value]) => ({ type, value: Buffer.from(value) })));
        for (let cut = 1; cut < header.length; cut++) expect(parseProxyHeader(header.subarray(0, cut))).toBeUndefined();
      }),
    );
  });

  test('whatever comes: understood with real addresses, more is wanted, or refused by a ProxyHeaderError', () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    const starts = fc.oneof(
      line.map((words) => Buffer.from(`PROXY ${words.join(' ')}\r\n`)),
      packet.map(({ header }) => header),
    );
    fc.assert(
      fc.property(starts, flips, (start, changes) => {
        const damaged = Buffer.from(start);
        for (const [at, value] of changes) damaged[at % damaged.length] = value;
        let read: ProxyHeader | null | undefined;
        try {
          read = parseProxyHeader(damaged, 'optional');
        } catch (error) {
          expect(error).toBeInstanceOf(ProxyHeaderError);
          return;
        }
        for (const address of [read?.peer, read?.local]) {
          if (address === undefined || 'path' in address) continue;
          expect(isIP(address.host)).not.toBe(0);
          expect(address.port).toBeLessThanOrEqual(65_535);
        }
        if (read != null) expect(read.length).toBeLessThanOrEqual(damaged.length);
      }),
      { numRuns: 2_000 },
    );
  });

  test('a line of any words is taken for addresses only if they are', () => {
    const word = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.string({ unit: fc.constantFrom(...Array.from('0123456789abcdef:.')), maxLength: 18 }),
    );
    fc.assert(
      fc.property(fc.constantFrom('TCP4', 'TCP6'), word, word, (protocol, from, to) => {
        const is = protocol === 'TCP4' ? isIPv4 : isIPv6;
        const taken = refusal(`PROXY ${protocol} ${from} ${to} 1 2\r\n`).startsWith('{');
        expect(taken).toBe(is(from) && is(to));
      }),
      { numRuns: 2_000 },
    );
  });
});
