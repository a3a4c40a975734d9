/** The framings of well-known protocols, with frames delivered whole. */
import { Buffer } from 'node:buffer';
import { FrameDecoder } from '../decoder.js';
import { copyBytes, FrameEncoder } from '../encoder.js';
import { InvalidLengthError } from '../errors.js';
import type { DecoderOptions, EncoderOptions, Framing, Limits } from '../framing.js';
import { limitsOf, type Policy } from '../options.js';
import { lengthPrefixedAs, type LengthPrefixedOptions } from './length-prefixed.js';
import { makeFraming } from './make.js';

/**
 * Framings of well-known protocols. Their frames are whole, the header included; their encoders take whole frames and
 * check that header and length are right. The limit counts the bytes behind the header.
 *
 * - `tpkt`: version 3, a byte, u16be of the whole. ISO transport over TCP (RDP, H.323, S7). Source: RFC 1006
 * - `fcgi`: FastCGI records; padding is read and written, not delivered. Source: FastCGI Specification, 3.3
 * - `giop`: CORBA's GIOP, byte order as its flags say. Source: OMG CORBA 3.3 part 2, 9.4
 * - `asn1Ber`: a tag, a length of up to 4 bytes, the contents (LDAP, SNMP over TCP). A value of indefinite length is
 *   only its header, and its contents follow as frames of their own. Source: ITU-T X.690, 8.1
 * - `oncRpc`: u32be, the top bit of which marks the last fragment; fragments are not joined. Source: RFC 5531, 11
 * - `grpc`: a flag byte, u32be. Source: gRPC over HTTP/2, "Length-Prefixed-Message"
 * - `kafka`: i32be. Source: Apache Kafka protocol guide, "Protocol Primitive Types"
 * - `postgres`: a type byte, i32be which counts itself. Source: PostgreSQL documentation, "Message Formats" (the very
 *   first message of a client has no type byte: read it with `lengthPrefixed({ adjust: -4, strip: 0 })`)
 */
export const presets = {
  tpkt: (limits?: Limits): Framing => wholeFrames('tpkt', tpkt, limits),
  fcgi: (limits?: Limits): Framing => wholeFrames('fcgi', fcgi, limits),
  giop: (limits?: Limits): Framing => wholeFrames('giop', giop, limits),
  asn1Ber: (limits?: Limits): Framing => wholeFrames('asn1-ber', asn1Ber, limits),
  oncRpc: (limits?: Limits): Framing => prefixed('oncrpc', limits, { mask: 0x7fffffff }),
  grpc: (limits?: Limits): Framing => prefixed('grpc', limits, { offset: 1 }),
  kafka: (limits?: Limits): Framing => prefixed('kafka', limits, { signed: true }),
  postgres: (limits?: Limits): Framing => prefixed('postgres', limits, { offset: 1, adjust: -4, signed: true }),
} as const;

function prefixed(name: string, limits: Limits | undefined, layout: LengthPrefixedOptions): Framing {
  limitsOf(name, limits);
  return lengthPrefixedAs(name, { ...limits, ...layout, strip: 0 });
}

/** What the bytes of a header say: how many more are needed, how long header, contents and padding are, or what is wrong. */
type Header =
  | { readonly need: number }
  | { readonly bytes: number; readonly size: number; readonly padding?: number }
  | { readonly malformed: string }
  | { readonly invalid: number; readonly why: string };

type ReadHeader = (buf: Buffer, start: number, end: number) => Header;

const tpkt: ReadHeader = (buf, start, end) => {
  if (buf[start] !== 3) return { malformed: `version ${buf[start]} is not 3` };
  if (end - start < 4) return { need: 4 };
  const whole = buf.readUInt16BE(start + 2);
  if (whole < 4) return { invalid: whole, why: `a length of ${whole} is less than the 4 bytes of the header` };
  return { bytes: 4, size: whole - 4 };
};

const fcgi: ReadHeader = (buf, start, end) => {
  if (buf[start] !== 1) return { malformed: `version ${buf[start]} is not 1` };
  if (end - start < 8) return { need: 8 };
  return { bytes: 8, size: buf.readUInt16BE(start + 4), padding: buf[start + 6] as number };
};

const giopMagic = Buffer.from('GIOP');
const giop: ReadHeader = (buf, start, end) => {
  for (let i = 0; i < 4 && start + i < end; i++) {
    if (buf[start + i] !== giopMagic[i]) return { malformed: 'the frame does not begin with "GIOP"' };
  }
  if (end - start < 12) return { need: 12 };
  const little = ((buf[start + 6] as number) & 1) === 1;
  return { bytes: 12, size: little ? buf.readUInt32LE(start + 8) : buf.readUInt32BE(start + 8) };
};

/** Tag numbers in use take one or two bytes; a longer one is an attack. */
const MOST_TAG_BYTES = 6;
const asn1Ber: ReadHeader = (buf, start, end) => {
  let at = start + 1;
  if (((buf[start] as number) & 0x1f) === 0x1f) {
    for (;;) {
      if (at - start > MOST_TAG_BYTES) return { malformed: `a tag of more than ${MOST_TAG_BYTES} bytes` };
      if (at >= end) return { need: at - start + 1 };
      if ((buf[at++] as number) < 128) break;
    }
  }
  if (at >= end) return { need: at - start + 1 };
  const first = buf[at++] as number;
  if (first < 128) return { bytes: at - start, size: first };
  const width = first & 0x7f;
  if (width > 4) return { invalid: Number.NaN, why: `a length in ${width} bytes is more than 4` };
  if (end - at < width) return { need: at - start + width };
  return { bytes: at - start + width, size: width === 0 ? 0 : buf.readUIntBE(at, width) };
};

function wholeFrames(name: string, read: ReadHeader, limits: Limits | undefined): Framing {
  const policy = limitsOf(name, limits);
  return makeFraming(
    name,
    (o) => new WholeFrameDecoder(name, read, policy, o),
    (o) => new WholeFrameEncoder(name, read, policy, o),
  );
}

class WholeFrameDecoder extends FrameDecoder {
  readonly #read: ReadHeader;

  constructor(name: string, read: ReadHeader, policy: Policy, options?: DecoderOptions) {
    super(name, policy, options);
    this.#read = read;
  }

  protected override locate(buf: Buffer, start: number, end: number): number {
    const header = this.#read(buf, start, end);
    if ('need' in header) return this.more(header.need, false);
    if ('malformed' in header) return this.malformed(buf, start, end, header.malformed);
    if ('invalid' in header) {
      const { invalid, why } = header;
      return this.refuse(buf, start, end, undefined, (place) => new InvalidLengthError(invalid, why, place));
    }
    const { bytes, size, padding = 0 } = header;
    const total = bytes + size + padding;
    if (size > this.limit) return this.tooLarge(buf, start, end, size, total);
    if (end - start < total) return this.more(total, true);
    this.from = start;
    this.to = start + bytes + size;
    return start + total;
  }

  protected override finish(buf: Buffer, start: number, end: number): boolean {
    const header = this.#read(buf, start, end);
    if (!('bytes' in header)) return false;
    this.from = start;
    this.to = Math.min(end, start + header.bytes + header.size);
    return true;
  }
}

class WholeFrameEncoder extends FrameEncoder {
  readonly #read: ReadHeader;

  constructor(name: string, read: ReadHeader, policy: Policy, options?: EncoderOptions) {
    super(name, policy, options);
    this.#read = read;
  }

  override pieces(payload: Buffer): Buffer[] {
    const padding = this.measure(payload) - payload.length;
    return padding === 0 ? [payload] : [payload, Buffer.alloc(padding)];
  }

  protected override measure(payload: Buffer): number {
    const header = payload.length === 0 ? { need: 1 } : this.#read(payload, 0, payload.length);
    if ('malformed' in header) return this.malformed(payload, header.malformed);
    if ('invalid' in header) return this.invalidLength(payload, header.invalid, header.why);
    if ('need' in header) return this.invalidLength(payload, payload.length, 'the frame is shorter than its header');
    const { bytes, size, padding = 0 } = header;
    this.checkLimit(payload, size);
    const there = payload.length - bytes;
    if (there !== size) this.invalidLength(payload, size, `the header says ${size} bytes follow, there are ${there}`);
    return payload.length + padding;
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    copyBytes(payload, target, at);
    target.fill(0, at + payload.length, at + this.measure(payload));
  }
}
