import { crc32 } from 'node:zlib';
import * as framing from '@sendall/framing';

/** One case of vectors/framing.json or vectors/more.json, in their own neutral vocabulary. */
export interface Vector {
  id: string;
  framing: string;
  options: Record<string, unknown>;
  chunks: string[];
  frames: string[];
  error?: string;
  events?: string[];
  errorAtChunk?: number[];
  truncated?: { have?: number; bytes?: string };
  direction?: 'encode';
}

const hex = (text: unknown): Buffer => Buffer.from(String(text), 'hex');

/** The framing that a vector describes. */
export function framingOf(vector: Vector): framing.Framing {
  const { preface, ...options } = vector.options;
  const made = withoutPreface({ ...vector, options });
  return preface === undefined ? made : framing.preface(preface as number, made);
}

function withoutPreface(vector: Vector): framing.Framing {
  const { width, strip, endian, offset, adjust, signed, mask, sync, checksum, ...o } = vector.options;
  const limits: Record<string, unknown> = {};
  if (o.maxPayload !== undefined) limits.maxFrameLength = o.maxPayload;
  for (const same of [
    'onOversize',
    'report',
    'emptyFrames',
    'onMalformed',
    'keep',
    'maxHeader',
    'lenient',
    'maxPrefixBytes',
    'leadingEnd',
  ]) {
    if (o[same] !== undefined) limits[same] = o[same];
  }
  if (o.eof !== undefined) limits.onEnd = o.eof;
  if (limits.onOversize === 'split') delete limits.onOversize;
  switch (vector.framing) {
    case 'length':
      return framing.lengthPrefixed({
        ...limits,
        ...(width === undefined ? {} : { bytes: width as 4 }),
        ...(strip === undefined ? {} : { strip: strip as number }),
        ...(endian === undefined ? {} : { endian: endian as 'le' }),
        ...(offset === undefined ? {} : { offset: offset as number }),
        ...(adjust === undefined ? {} : { adjust: adjust as number }),
        ...(signed === undefined ? {} : { signed: signed as boolean }),
        ...(mask === undefined ? {} : { mask: Number.parseInt(mask as string, 16) }),
        ...(sync === undefined ? {} : { sync: (sync as string[]).map(hex) }),
        ...(checksum === undefined ? {} : { checksum: { bytes: 4, compute: (bytes: Uint8Array) => crc32(bytes) } }),
      });
    case 'varint':
      return framing.varint(limits);
    case 'delimiter':
      if (o.eofEmpty !== undefined) limits.separator = o.eofEmpty;
      return framing.delimited((o.delimiters as string[]).map(hex), limits);
    case 'line':
      if (o.eol === '0d0a' && vector.direction === 'encode') limits.eol = 'crlf';
      if (o.splitSize !== undefined) limits.cut = o.splitSize;
      return framing.lines(limits);
    case 'fixed':
      return framing.fixed(o.size as number, limits);
    case 'decimal':
      if (o.digits !== undefined) limits.digits = o.digits;
      if (adjust !== undefined) limits.adjust = adjust;
      if (o.separator !== undefined) limits.separator = hex(o.separator);
      return framing.decimalLength(limits);
    case 'octet-counting':
      return framing.octetCounting(limits);
    case 'netstring':
      return framing.netstring(limits);
    case 'content-length':
      return framing.contentLength(limits);
    case 'slip':
      for (const [theirs, ours] of [
        ['end_byte', 'end'],
        ['esc_byte', 'esc'],
        ['esc_end', 'escEnd'],
        ['esc_esc', 'escEsc'],
      ] as const) {
        if (o[theirs] !== undefined) limits[ours] = Number.parseInt(o[theirs] as string, 16);
      }
      return framing.slip(limits);
    case 'cobs':
      return framing.cobs(limits);
    case 'tpkt':
    case 'fcgi':
    case 'giop':
      return framing.presets[vector.framing](limits);
    case 'asn1-ber':
      return framing.presets.asn1Ber(limits);
    default:
      throw new Error(`no framing "${vector.framing}"`);
  }
}
