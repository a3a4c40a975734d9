/** What can be wrong: the bytes of a stream, or an option. Callers match on `code`. */

/** What a caller matches on. */
export type FramingErrorCode =
  | 'FRAME_TOO_LARGE'
  | 'INVALID_LENGTH'
  | 'MALFORMED_FRAME'
  | 'TRUNCATED_FRAME'
  | 'CHECKSUM_MISMATCH'
  | 'FRAME_TIMEOUT'
  | 'PAYLOAD_TOO_LARGE';

/** Where it happened. */
export interface ErrorPlace {
  /** The framing's name. */
  framing: string;
  /** Position of the frame's first byte in the stream; for an encoder 0. */
  offset: number;
  /** How many frames came before it, skipped ones included. */
  frameIndex: number;
  /** Whether decoding is over. */
  fatal: boolean;
  /** A copy of the frame's first bytes as far as they had come, at most 64. */
  head: Buffer;
  /** A guess at the mistake behind it. */
  hint?: string | undefined;
}

/** Every error about the bytes themselves. */
export class FramingError extends Error {
  override readonly name: string = 'FramingError';
  readonly code: FramingErrorCode;
  readonly framing: string;
  readonly offset: number;
  readonly frameIndex: number;
  readonly fatal: boolean;
  readonly head: Buffer;
  readonly hint?: string;
  /** Set when `decode` threw this: the frames before the error. */
  frames?: Buffer[];

  constructor(code: FramingErrorCode, sentence: string, place: ErrorPlace, options?: ErrorOptions) {
    const where = `frame ${place.frameIndex} at byte ${place.offset}`;
    super(`${place.framing}: ${sentence} (${where})${place.hint ? `; ${place.hint}` : ''}`, options);
    this.code = code;
    this.framing = place.framing;
    this.offset = place.offset;
    this.frameIndex = place.frameIndex;
    this.fatal = place.fatal;
    this.head = place.head;
    if (place.hint !== undefined) this.hint = place.hint;
  }
}

/** A frame above the limit. `size` is what it declares; without a length on the wire, the limit + 1: at least so much. */
export class FrameTooLargeError extends FramingError {
  override readonly name = 'FrameTooLargeError';
  readonly size: number | bigint;
  readonly limit: number;
  constructor(size: number | bigint, limit: number, place: ErrorPlace, what = 'a frame') {
    super('FRAME_TOO_LARGE', `${what} of ${size} bytes is above the limit of ${limit}`, place);
    this.size = size;
    this.limit = limit;
  }
}

/** A length that no frame can have: negative, not a number, or less than what it has to count. */
export class InvalidLengthError extends FramingError {
  override readonly name = 'InvalidLengthError';
  /** The length as far as it is a number, else NaN. */
  readonly value: number | bigint;
  constructor(value: number | bigint, why: string, place: ErrorPlace) {
    super('INVALID_LENGTH', why, place);
    this.value = value;
  }
}

/** Bytes that this framing cannot mean: a wrong magic, version, escape, header or trailer. */
export class MalformedFrameError extends FramingError {
  override readonly name = 'MalformedFrameError';
  constructor(why: string, place: ErrorPlace, options?: ErrorOptions) {
    super('MALFORMED_FRAME', why, place, options);
  }
}

/** The stream ended inside a frame, its header included. */
export class TruncatedFrameError extends FramingError {
  override readonly name = 'TruncatedFrameError';
  /** Bytes of the frame that came, its header included. */
  readonly have: number;
  /** Bytes it should have, if that was known. */
  readonly need?: number;
  /** The bytes that came. */
  readonly rest: Buffer;
  constructor(rest: Buffer, need: number | undefined, place: ErrorPlace) {
    const of = need === undefined ? '' : ` of ${need}`;
    super('TRUNCATED_FRAME', `the stream ended inside a frame, ${rest.length}${of} bytes of it had come`, place);
    this.have = rest.length;
    if (need !== undefined) this.need = need;
    this.rest = rest;
  }
}

/** An option that is not known, or whose value does not fit. */
export class OptionError extends TypeError {
  override readonly name = 'OptionError';
  readonly code: 'UNKNOWN_OPTION' | 'INVALID_OPTION';
  /** Its name. */
  readonly option: string;
  constructor(code: 'UNKNOWN_OPTION' | 'INVALID_OPTION', option: string, message: string) {
    super(message);
    this.code = code;
    this.option = option;
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** The checksum behind the payload is not the payload's. */
export class ChecksumError extends FramingError {
  override readonly name = 'ChecksumError';
  readonly expected: number;
  readonly actual: number;
  constructor(expected: number, actual: number, place: ErrorPlace) {
    super('CHECKSUM_MISMATCH', `the checksum says ${hex(expected)}, the payload has ${hex(actual)}`, place);
    this.expected = expected;
    this.actual = actual;
  }
}

/** A frame took longer than `frameTimeout` from its first byte to its last. */
export class FrameTimeoutError extends FramingError {
  override readonly name = 'FrameTimeoutError';
  readonly ms: number;
  constructor(ms: number, place: ErrorPlace) {
    super('FRAME_TIMEOUT', `a frame was not whole ${ms} ms after its first byte`, place);
    this.ms = ms;
  }
}

/** An encoder was given more than the limit, or more than the length field can say. */
export class PayloadTooLargeError extends FramingError {
  override readonly name = 'PayloadTooLargeError';
  readonly size: number;
  readonly limit: number;
  constructor(size: number, limit: number, why: string, place: ErrorPlace) {
    super('PAYLOAD_TOO_LARGE', `a payload of ${size} bytes is above ${limit}, ${why}`, place);
    this.size = size;
    this.limit = limit;
  }
}
