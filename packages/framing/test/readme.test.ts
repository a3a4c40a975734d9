/* oxlint-disable unicorn/consistent-function-scoping, typescript/no-implied-eval -- the README's own code is run */
import { readFileSync } from 'node:fs';
import * as framing from '@sendall/framing';
import { describe, expect, test } from 'vitest';

// What the README shows is run.

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const evaluate = (code: string): unknown => {
  const run = new Function(...Object.keys(framing), code) as (...values: unknown[]) => unknown;
  return run(...Object.values(framing));
};

/** Two messages of some protocols in the table, as they are on the wire, and what is delivered of them. */
const samples: Record<string, [wire: string, ...frames: string[]]> = {
  'DNS over TCP': ['0003616263000101', '616263', '01'],
  MySQL: ['0200000361620100000463', '020000036162', '0100000463'],
  MongoDB: ['06000000aabb05000000cc', '06000000aabb', '05000000cc'],
  'Cassandra, native protocol 4': ['840000000000000001aa', '840000000000000001aa'],
  'AMQP 0-9-1': ['010000000000026162ce08000000000000ce', '010000000000026162ce', '08000000000000ce'],
  BGP: ['ffffffffffffffffffffffffffffffff001304', 'ffffffffffffffffffffffffffffffff001304'],
  Diameter: ['01000006aabb01000004', '01000006aabb', '01000004'],
  SMPP: ['00000006aabb00000004', '00000006aabb', '00000004'],
  'Modbus TCP': ['00010000000301aabb000200000001ff', '00010000000301aabb', '000200000001ff'],
  'TLS records': ['16030300026162150303000101', '16030300026162', '150303000101'],
  'Docker attach streams': ['010000000000000261620200000000000000', '01000000000000026162', '0200000000000000'],
  'browser native messaging, little-endian machines': ['020000007b7d', '7b7d'],
  'serial packets behind a marker': ['00ffaa5502616299aa5500', '6162', ''],
};

const table = readme.slice(readme.indexOf('## Which framing'), readme.indexOf('### A framing of your own'));
const rows = [...table.matchAll(/^\| (.+?) \| `(.+)` \|$/gm)].map((row) => [row[1], row[2]] as [string, string]);

describe('the table of protocols', () => {
  test.each(rows)('%s: %s', (protocol, code) => {
    const made = evaluate(`return ${code}`) as framing.Framing;
    expect(made.decoder().state).toBe('idle');
    const [wire, ...frames] = samples[protocol] ?? [''];
    const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');
    framing.verifyFraming(made, [{ wire: bytes(wire), frames: frames.map(bytes) }], { cuts: 20 });
  });

  test('has every sample', () => {
    for (const protocol of Object.keys(samples)) expect(rows.map(([name]) => name)).toContain(protocol);
  });
});

test('Redis and MQTT by custom, as shown', () => {
  const blocks = [...readme.matchAll(/```ts\n([^`]*?custom\([\s\S]*?)```/g)].map((block) => block[1] as string);
  expect(blocks).toHaveLength(2);
  const [resp, mqtt] = ['resp', 'mqtt'].map((name, i) => evaluate(`${blocks[i]}\nreturn ${name};`) as framing.Framing);
  const replies = ['+OK\r\n', '*2\r\n$3\r\nfoo\r\n*1\r\n:5\r\n', '$-1\r\n', '$0\r\n\r\n'].map((each) =>
    Buffer.from(each),
  );
  framing.verifyFraming(resp as framing.Framing, [
    { wire: Buffer.concat(replies), frames: replies },
    { wire: Buffer.from('+OK\r\n$9\r\nx'), frames: [Buffer.from('+OK\r\n')], error: 'TRUNCATED_FRAME' },
    { wire: Buffer.from('GET /\r\n'), frames: [], error: 'MALFORMED_FRAME' },
    { wire: Buffer.from('$99999999999\r\n'), frames: [], error: 'FRAME_TOO_LARGE' },
  ]);
  const packets = [Buffer.from('c000', 'hex'), Buffer.concat([Buffer.from('308101', 'hex'), Buffer.alloc(129)])];
  framing.verifyFraming(mqtt as framing.Framing, [
    { wire: Buffer.concat(packets), frames: packets },
    { wire: Buffer.from('30ffffffff', 'hex'), frames: [], error: 'MALFORMED_FRAME' },
  ]);
});

test('the message shown is the message thrown', () => {
  const shown = /```text\n(u32be: .*)\n```/.exec(readme)?.[1] ?? '';
  expect(() => framing.lengthPrefixed().decoder().decode(Buffer.from('GET / HTTP/1.1'))).toThrow(shown);
});
