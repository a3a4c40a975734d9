import { Buffer } from 'node:buffer';
import type { Framing, Limits } from './framing.js';
import { cobs } from './framings/cobs.js';
import { contentLength } from './framings/content-length.js';
import { delimited } from './framings/delimited.js';
import { lengthPrefixed, type LengthPrefixedOptions } from './framings/length-prefixed.js';
import { fixed } from './framings/fixed.js';
import { lines } from './framings/lines.js';
import { netstring } from './framings/netstring.js';
import { presets } from './framings/presets.js';
import { slip } from './framings/slip.js';
import { varint } from './framings/varint.js';

const named: Readonly<Record<string, (limits: Limits) => Framing>> = {
  varint,
  lines,
  crlf: (limits) => lines({ ...limits, eol: 'crlf' }),
  netstring,
  'content-length': contentLength,
  slip,
  cobs,
  tpkt: presets.tpkt,
  fcgi: presets.fcgi,
  giop: presets.giop,
  'asn1-ber': presets.asn1Ber,
  oncrpc: presets.oncRpc,
  grpc: presets.grpc,
  kafka: presets.kafka,
  postgres: presets.postgres,
};

/**
 * Makes a framing from a short text, as a command line or a configuration has it:
 *
 * `u8` `u16be` `u32le` `i32be` … (u or i, 8 to 64 bits, be or le; be when unsaid), `varint`, `lines`, `crlf`,
 * `delim:0d0a` (hexadecimal), `fixed:16`, `netstring`, `content-length`, `slip`, `cobs`, `tpkt`, `fcgi`, `giop`,
 * `asn1-ber`, `oncrpc`, `grpc`, `kafka`, `postgres`. `,max=65536` may follow: {@link Limits.maxFrameLength}.
 * @throws TypeError when it is none of these
 */
export function parseFraming(spec: string): Framing {
  if (typeof spec !== 'string') throw new TypeError('parseFraming: expected a text such as "u32be"');
  const [kind = '', ...settings] = spec.trim().split(',');
  const limits: Limits = {};
  for (const setting of settings) {
    const match = /^max=(\d+)$/.exec(setting.trim());
    if (match === null) throw new TypeError(`parseFraming: "${setting}" in "${spec}": only max=BYTES is known there`);
    limits.maxFrameLength = Number(match[1]);
  }
  const integer = /^([ui])(8|16|24|32|40|48|56|64)(be|le)?$/.exec(kind);
  if (integer !== null) {
    return lengthPrefixed({
      ...limits,
      bytes: (Number(integer[2]) / 8) as NonNullable<LengthPrefixedOptions['bytes']>,
      endian: integer[3] === 'le' ? 'le' : 'be',
      signed: integer[1] === 'i',
    });
  }
  const delimiter = /^delim:((?:[0-9a-f]{2})+)$/i.exec(kind);
  if (delimiter?.[1] !== undefined) return delimited(Buffer.from(delimiter[1], 'hex'), limits);
  const size = /^fixed:([1-9]\d*)$/.exec(kind);
  if (size !== null) return fixed(Number(size[1]), limits);
  const make = Object.hasOwn(named, kind) ? named[kind] : undefined;
  if (make !== undefined) return make(limits);
  throw new TypeError(
    `parseFraming: unknown framing "${kind}": known are u8 to u64 and i8 to i64 (with be or le), delim:HEX, fixed:SIZE, ` +
      Object.keys(named).join(', '),
  );
}
