/** Framings from a short text, for command lines and configurations. */
import { Buffer } from 'node:buffer';
import type { Framing, Limits } from './framing.js';
import type { OptionError } from './errors.js';
import { cobs } from './framings/cobs.js';
import { contentLength } from './framings/content-length.js';
import { decimalLength, octetCounting } from './framings/decimal-length.js';
import { delimited } from './framings/delimited.js';
import { lengthPrefixed, type LengthPrefixedOptions } from './framings/length-prefixed.js';
import { fixed } from './framings/fixed.js';
import { lines } from './framings/lines.js';
import { netstring } from './framings/netstring.js';
import { preface } from './framings/preface.js';
import { presets } from './framings/presets.js';
import { slip } from './framings/slip.js';
import { varint } from './framings/varint.js';
import { wrongOption } from './options.js';

const named: Readonly<Record<string, (limits: Limits) => Framing>> = {
  varint,
  lines,
  crlf: (limits) => lines({ ...limits, eol: 'crlf' }),
  netstring,
  'octet-counting': octetCounting,
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

const KINDS = `u8 to u64 and i8 to i64 (with be or le), decimal, decimal:DIGITS, delim:HEX, fixed:SIZE, ${Object.keys(named).join(', ')}`;

/** What may stand behind a comma, as errors show it, and what it means. */
const settings = {
  max: { shown: 'max=BYTES', pattern: /^\d+$/ },
  preface: { shown: 'preface=BYTES', pattern: /^\d+$/ },
  offset: { shown: 'offset=BYTES', pattern: /^\d+$/ },
  adjust: { shown: 'adjust=BYTES', pattern: /^[+-]?\d+$/ },
  strip: { shown: 'strip=BYTES', pattern: /^\d+$/ },
  'includes-header': { shown: 'includes-header', pattern: /^$/ },
  separator: { shown: 'separator=HEX', pattern: /^(?:[0-9a-f]{2})+$/i },
} as const;

type Setting = keyof typeof settings;
type Given = Partial<Record<Setting, string>>;

const always: readonly Setting[] = ['max', 'preface'];

/**
 * Makes a framing from a short text, as a command line or a configuration has it: a kind, and settings behind commas.
 *
 * `u8` `u16be` `u32le` `i32be` … (u or i, 8 to 64 bits, be or le; be when unsaid), `decimal` (digits and a space),
 * `decimal:4` (four digits), `octet-counting` (syslog), `varint`, `lines`, `crlf`, `delim:0d0a` (hexadecimal),
 * `fixed:16`, `netstring`, `content-length`, `slip`, `cobs`, `tpkt`, `fcgi`, `giop`, `asn1-ber`, `oncrpc`, `grpc`,
 * `kafka`, `postgres`.
 *
 * Behind each: `max=65536` ({@link Limits.maxFrameLength}) and `preface=8` ({@link preface}: 8 bytes of another kind
 * first). Behind `u8` to `i64`: `offset=3`, `adjust=-4`, `strip=0`, `includes-header`, as in
 * {@link LengthPrefixedOptions}. Behind `decimal`: `adjust=-4` and `separator=0a` (hexadecimal).
 *
 * ```ts
 * parseFraming('u32be,offset=3,adjust=1,strip=0,preface=8')    // what an AMQP 0-9-1 client sends
 * parseFraming('u24be,adjust=6,strip=0,preface=24')            // what an HTTP/2 client sends
 * parseFraming('decimal,separator=0a,max=65536')               // '2\nhi'
 * ```
 * @throws OptionError for a kind or a setting that is not known or does not fit
 */
export function parseFraming(spec: string): Framing {
  if (typeof spec !== 'string') throw wrongSpec('expected a text such as "u32be"');
  const [kind = '', ...words] = spec.trim().split(',');
  const given: Given = {};
  for (const word of words) readSetting(spec, word.trim(), given);

  const framing = framingOf(spec, kind, given);
  return given.preface === undefined ? framing : preface(Number(given.preface), framing);
}

function wrongSpec(why: string): OptionError {
  return wrongOption('parseFraming', 'spec', why);
}

function framingOf(spec: string, kind: string, given: Given): Framing {
  const limits: Limits = given.max === undefined ? {} : { maxFrameLength: Number(given.max) };
  const integer = /^([ui])(8|16|24|32|40|48|56|64)(be|le)?$/.exec(kind);
  if (integer !== null) {
    allow(spec, kind, given, ['offset', 'adjust', 'strip', 'includes-header']);
    return lengthPrefixed({
      ...limits,
      ...numbers(given, 'offset', 'adjust', 'strip'),
      bytes: (Number(integer[2]) / 8) as NonNullable<LengthPrefixedOptions['bytes']>,
      endian: integer[3] === 'le' ? 'le' : 'be',
      signed: integer[1] === 'i',
      includesHeader: given['includes-header'] !== undefined,
    });
  }
  const decimal = /^decimal(?::([1-9]\d?))?$/.exec(kind);
  if (decimal !== null) {
    allow(spec, kind, given, ['adjust', 'separator']);
    return decimalLength({
      ...limits,
      ...numbers(given, 'adjust'),
      ...(decimal[1] !== undefined && { digits: Number(decimal[1]) }),
      ...(given.separator !== undefined && { separator: Buffer.from(given.separator, 'hex') }),
    });
  }
  const make = plainKind(kind);
  if (make === undefined) throw wrongSpec(`unknown framing "${kind}": known are ${KINDS}`);
  allow(spec, kind, given, []);
  return make(limits);
}

function plainKind(kind: string): ((limits: Limits) => Framing) | undefined {
  const delimiter = /^delim:((?:[0-9a-f]{2})+)$/i.exec(kind)?.[1];
  if (delimiter !== undefined) return (limits) => delimited(Buffer.from(delimiter, 'hex'), limits);
  const size = /^fixed:([1-9]\d*)$/.exec(kind)?.[1];
  if (size !== undefined) return (limits) => fixed(Number(size), limits);
  return Object.hasOwn(named, kind) ? named[kind] : undefined;
}

function readSetting(spec: string, word: string, given: Given): void {
  const equals = word.indexOf('=');
  const name = (equals < 0 ? word : word.slice(0, equals)) as Setting;
  const value = equals < 0 ? '' : word.slice(equals + 1);
  const setting = Object.hasOwn(settings, name) ? settings[name] : undefined;
  const wrong = (why: string) => wrongSpec(`"${word}" in "${spec}": ${why}`);
  if (setting === undefined) {
    throw wrong(
      `known are ${Object.values(settings)
        .map(({ shown }) => shown)
        .join(', ')}`,
    );
  }
  if (given[name] !== undefined) throw wrong(`${name} stands there twice`);
  if (!setting.pattern.test(value) || (equals >= 0 && !setting.shown.includes('=')))
    throw wrong(`expected ${setting.shown}`);
  given[name] = value;
}

/** Refuses settings that this kind of framing does not have. */
function allow(spec: string, kind: string, given: Given, own: readonly Setting[]): void {
  const known = [...always, ...own];
  for (const name of Object.keys(given) as Setting[]) {
    if (known.includes(name)) continue;
    const shown = known.map((each) => settings[each].shown).join(', ');
    throw wrongSpec(`"${name}" in "${spec}": behind ${kind} may stand ${shown}`);
  }
}

function numbers<const T extends Setting>(given: Given, ...names: readonly T[]): Partial<Record<T, number>> {
  const found: Partial<Record<T, number>> = {};
  for (const name of names) if (given[name] !== undefined) found[name] = Number(given[name]);
  return found;
}
