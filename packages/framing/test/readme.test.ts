/* oxlint-disable unicorn/consistent-function-scoping, typescript/no-implied-eval -- the README's own code is run */
import { readFileSync } from 'node:fs';
import * as framing from '@sendall/framing';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

// What the README shows is run.

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const evaluate = (code: string): unknown => {
  const run = new Function(...Object.keys(framing), code) as (...values: unknown[]) => unknown;
  return run(...Object.values(framing));
};

const text = (value: string): string => Buffer.from(value, 'latin1').toString('hex');

/** What each protocol of the table really sends: bytes on the wire, and the frames in them. */
const traffic: Record<string, [wire: string, ...frames: string[]]> = {
  'your own, new': ['00000002686900000000', '6869', ''],
  'Language Server Protocol, Debug Adapter Protocol': [
    text(
      'Content-Length: 38\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n' +
        '{"jsonrpc":"2.0","method":"shutdown!"}content-length: 2\r\n\r\n{}',
    ),
    text('{"jsonrpc":"2.0","method":"shutdown!"}'),
    text('{}'),
  ],
  'NDJSON, logs, text': [text('{"a":1}\n{"b":"\\n"}\r\n'), text('{"a":1}'), text('{"b":"\\n"}')],
  'SMTP, FTP control': [
    text('250-mail.example.org\r\n250-SIZE 1000\r\n250 8BITMIME\r\n'),
    text('250-mail.example.org'),
    text('250-SIZE 1000'),
    text('250 8BITMIME'),
  ],
  'IRC (many servers end lines with LF alone)': [
    text('PING :a\n:irc.example 001 me :hi\r\nPING :b\n'),
    text('PING :a'),
    text(':irc.example 001 me :hi'),
    text('PING :b'),
  ],
  'NUL-terminated text, GELF over TCP': [
    text('{"version":"1.1"}\0{"host":"a"}\0'),
    text('{"version":"1.1"}'),
    text('{"host":"a"}'),
  ],
  // A question for example.org, A, and a short second message.
  'DNS over TCP': [
    '001d123401000001000000000000076578616d706c65036f7267000001000100020000',
    '123401000001000000000000076578616d706c65036f72670000010001',
    '0000',
  ],
  // ApiVersions of a client "a", and ZooKeeper's ping (xid -2, type 11).
  'Kafka, ZooKeeper': [
    '0000000b001200000000000100016100000008fffffffe0000000b',
    '0000000b0012000000000001000161',
    '00000008fffffffe0000000b',
  ],
  // A strict binary call of "ping" without arguments.
  'Thrift, framed transport': ['00000011800100010000000470696e670000000100', '800100010000000470696e670000000100'],
  // SSLRequest, then the startup message of user "a".
  "PostgreSQL, a client's first message": [
    '0000000804d2162f00000010000300007573657200610000',
    '0000000804d2162f',
    '00000010000300007573657200610000',
  ],
  // AuthenticationOk, ReadyForQuery.
  'PostgreSQL, after it': ['5200000008000000005a0000000549', '520000000800000000', '5a0000000549'],
  // COM_PING, and the OK packet.
  MySQL: ['010000000e0700000100000002000000', '010000000e', '0700000100000002000000'],
  // OP_MSG with {ping: 1}.
  MongoDB: [
    '240000000100000000000000dd07000000000000000f0000001070696e67000100000000',
    '240000000100000000000000dd07000000000000000f0000001070696e67000100000000',
  ],
  // OPTIONS without a body, and READY as its answer to STARTUP.
  'Cassandra, native protocol 4': ['040000000500000000840000010200000000', '040000000500000000', '840000010200000000'],
  // A message with field 1 = 150, and an empty compressed one.
  'gRPC messages': ['00000000030896010100000000', '0000000003089601', '0100000000'],
  // Field 1 = 150; then /multistream/1.0.0 with its line feed.
  'Protocol Buffers, delimited; libp2p': [
    `0308960113${text('/multistream/1.0.0\n')}`,
    '089601',
    text('/multistream/1.0.0\n'),
  ],
  // The protocol header, a heartbeat, and a body on channel 1.
  'AMQP 0-9-1, from a client': [
    '414d51500000090108000000000000ce0300010000000568656c6c6fce',
    '414d515000000901',
    '08000000000000ce',
    '0300010000000568656c6c6fce',
  ],
  // connection.tune, and a heartbeat.
  'AMQP 0-9-1, from a server': [
    '0100000000000c000a001e07ff00020000003cce08000000000000ce',
    '0100000000000c000a001e07ff00020000003cce',
    '08000000000000ce',
  ],
  // The connection preface, empty SETTINGS, and a PING.
  'HTTP/2 without TLS, from a client': [
    `${text('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')}0000000400000000000000080600000000000001020304050607`,
    text('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    '000000040000000000',
    '0000080600000000000001020304050607',
  ],
  // The second message ends with the line feed that its sender counts.
  'syslog over TCP or TLS, octet counting': [
    text('25 <13>1 - h app - - - hello12 <34>su: no.\n'),
    text('<13>1 - h app - - - hello'),
    text('<34>su: no.\n'),
  ],
  'syslog over TCP, a message a line': [
    text('<13>1 - h app - - - hello\n<34>su: no.\n'),
    text('<13>1 - h app - - - hello'),
    text('<34>su: no.'),
  ],
  'four decimal digits ahead, as between banks': [text('0008080082200000'), text('08008220'), ''],
  BGP: [
    `${'ff'.repeat(16)}001304${'ff'.repeat(16)}001503cafe`,
    `${'ff'.repeat(16)}001304`,
    `${'ff'.repeat(16)}001503cafe`,
  ],
  // A Device-Watchdog-Request and its answer, both without attributes.
  Diameter: [
    '01000014800001180000000000000001000000010100001400000118000000000000000100000001',
    '0100001480000118000000000000000100000001',
    '0100001400000118000000000000000100000001',
  ],
  // enquire_link and its answer.
  SMPP: [
    '0000001000000015000000000000000100000010800000150000000000000001',
    '00000010000000150000000000000001',
    '00000010800000150000000000000001',
  ],
  // Read two holding registers, and the answer.
  'Modbus TCP': [
    '0001000000060103000000020001000000070103040000ffff',
    '000100000006010300000002',
    '0001000000070103040000ffff',
  ],
  // A closing alert, and an empty record of application data.
  'TLS records': ['150303000201001703030000', '15030300020100', '1703030000'],
  'Docker attach streams': ['0100000000000003686a0a0200000000000000', '0100000000000003686a0a', '0200000000000000'],
  'browser native messaging, little-endian machines': ['020000007b7d', '7b7d'],
  // A connection request of COTP, as S7 and RDP begin.
  'H.323, S7, RDP before its fast path, over TPKT': [
    '0300000b06e000000001000300000702f080',
    '0300000b06e00000000100',
    '0300000702f080',
  ],
  // An anonymous bind of LDAP, with a long and a short form of the length.
  'LDAP, SNMP over TCP': [
    '30840000000c020101600702010304008000300c020101600702010304008000',
    '30840000000c020101600702010304008000',
    '300c020101600702010304008000',
  ],
  // The NULL call of NFS 3, as one last fragment.
  'ONC RPC, NFS': [
    '80000028000000010000000000000002000186a3000000030000000000000000000000000000000000000000',
    '80000028000000010000000000000002000186a3000000030000000000000000000000000000000000000000',
  ],
  // BEGIN_REQUEST, then an empty PARAMS record with padding.
  FastCGI: [
    '010100010008000000010000000000000104000100020600abcd000000000000',
    '01010001000800000001000000000000',
    '0104000100020600abcd',
  ],
  // A close message in either byte order.
  CORBA: [
    '47494f50010000050000000047494f50010001050100000061',
    '47494f500100000500000000',
    '47494f50010001050100000061',
  ],
  'netstrings, the headers of SCGI requests (a body follows bare)': [
    text('24:CONTENT_LENGTH\x000\0SCGI\x001\0,0:,'),
    text('CONTENT_LENGTH\x000\0SCGI\x001\0'),
    '',
  ],
  'serial lines': ['c06162c0c0dbdcdbddc0', '6162', 'c0db'],
  'serial lines, sensors': ['03616200026100', '6162', '61'],
  'serial packets behind a marker': ['00ffaa5502616299aa5500', '6162', ''],
  'records of one size': ['00'.repeat(16) + 'ff'.repeat(16), '00'.repeat(16), 'ff'.repeat(16)],
};

const table = readme.slice(readme.indexOf('## Which framing'), readme.indexOf('### As a text'));
const rows = [...table.matchAll(/^\| (.+?) \| `(.+)` \|$/gm)].map((row) => [row[1], row[2]] as [string, string]);

describe('the table of protocols', () => {
  test.each(rows)('%s: %s', (protocol, code) => {
    const made = evaluate(`return ${code}`) as framing.Framing;
    expect(made.decoder().state).toBe('idle');
    const [wire, ...frames] = traffic[protocol] as [string, ...string[]];
    const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');
    framing.verifyFraming(made, [{ wire: bytes(wire), frames: frames.map(bytes) }], { cuts: 20 });
  });

  test('has traffic for every row', () => {
    expect(rows.map(([name]) => name).toSorted()).toEqual(Object.keys(traffic).toSorted());
  });
});

test.each([
  ['u32be,offset=3,adjust=1,strip=0,preface=8', 'AMQP 0-9-1, from a client'],
  ['u24be,adjust=6,strip=0,preface=24', 'HTTP/2 without TLS, from a client'],
  ['u32le,includes-header,strip=0,max=48000000', 'MongoDB'],
  ['u24le,adjust=1,strip=0', 'MySQL'],
])('the text %s reads %s', (spec, protocol) => {
  expect(readme).toContain(`| \`${spec}\` |`);
  const [wire, ...frames] = (traffic[protocol] as string[]).map((hex) => Buffer.from(hex, 'hex'));
  framing.verifyFraming(framing.parseFraming(spec), [{ wire: wire as Buffer, frames }], { cuts: 20 });
});

test('Redis, STOMP and MQTT by custom, as shown', () => {
  const blocks = [...readme.matchAll(/```ts\n([^`]*?custom[(<][\s\S]*?)```/g)].map((block) =>
    ts.transpile(block[1] as string, { target: ts.ScriptTarget.ES2023 }).replace(/^import .*$/m, ''),
  );
  expect(blocks).toHaveLength(3);
  const [resp, stomp, mqtt] = ['resp', 'stomp', 'mqtt'].map(
    (name, i) => evaluate(`${blocks[i]}\nreturn ${name};`) as framing.Framing,
  );
  const replies = ['+OK\r\n', '*2\r\n$3\r\nfoo\r\n*1\r\n:5\r\n', '$-1\r\n', '$0\r\n\r\n'].map((each) =>
    Buffer.from(each),
  );
  framing.verifyFraming(resp as framing.Framing, [
    { wire: Buffer.concat(replies), frames: replies },
    { wire: Buffer.from('+OK\r\n$9\r\nx'), frames: [Buffer.from('+OK\r\n')], error: 'TRUNCATED_FRAME' },
    { wire: Buffer.from('GET /\r\n'), frames: [], error: 'MALFORMED_FRAME' },
    { wire: Buffer.from('$x\r\n'), frames: [], error: 'MALFORMED_FRAME' },
    { wire: Buffer.from('\r\n'), frames: [], error: 'MALFORMED_FRAME' },
    { wire: Buffer.from('$99999999999\r\n'), frames: [], error: 'FRAME_TOO_LARGE' },
  ]);
  const sent = [
    'CONNECTED\nversion:1.2\n\n',
    'MESSAGE\ncontent-length:5\nsubscription:0\n\na\0b\0c',
    'ERROR\r\ncontent-length:0\r\ncontent-length:9\r\n\r\n',
    'SEND\ndestination:/q\n\ncontent-length:3\n\nx',
  ].map((each) => Buffer.from(each));
  const beats = ['\n', '\r\n\r\n', '', '\n\n\n'].map((each) => Buffer.from(`\0${each}`));
  framing.verifyFraming(stomp as framing.Framing, [
    { wire: Buffer.concat(sent.flatMap((each, i) => [each, beats[i] as Buffer])), frames: sent },
    { wire: Buffer.from('A\ncontent-length:1\n\nxy\0'), frames: [], error: 'MALFORMED_FRAME' },
    { wire: Buffer.from('A\n\nx'), frames: [], error: 'TRUNCATED_FRAME' },
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
