/**
 * The wire format of Protocol Buffers, as far as control messages need it: varints and lengths. A general library spends
 * more time on the dozen messages of a short command than all else that our processes do for it.
 *
 * Source: Protocol Buffers encoding, https://protobuf.dev/programming-guides/encoding/
 */
export const WIRE = { varint: 0, i64: 1, length: 2, startGroup: 3, endGroup: 4, i32: 5 } as const;
const LONGEST_VARINT = 10;
/** What is left of 64 bits for the last byte of the longest varint, and of a tag's 32 bits for its fifth. */
const LARGEST_TENTH = 0x01;
const LARGEST_FIFTH = 0x0f;
const LONGEST_TAG = 5;
/** Memory that a writer keeps between messages. */
const KEPT = 16 * 1024;
/** UTF-8 takes at most so many bytes for a unit of a string. */
const WIDEST = 3;

/** Writes one message after the other into memory of its own. */
export class Writer {
  #bytes = Buffer.allocUnsafeSlow(KEPT);
  #at = 0;

  /** Begins a message behind `room` bytes that are left to the caller. */
  begin(room: number): void {
    if (this.#bytes.length > KEPT) this.#bytes = Buffer.allocUnsafeSlow(KEPT);
    this.#at = room;
  }

  /**
   * A whole number, 0 to 2^53 - 1.
   * @throws RangeError for another one.
   */
  varint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no whole number up to 2^53 - 1`);
    this.#reserve(LONGEST_VARINT);
    let left = value;
    for (; left > 0x7fff_ffff; left = Math.floor(left / 128)) this.#bytes[this.#at++] = (left % 128) | 0x80;
    for (; left > 0x7f; left >>>= 7) this.#bytes[this.#at++] = left | 0x80;
    this.#bytes[this.#at++] = left;
  }

  /** Bytes with their length before them. */
  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.#reserve(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  /** A string in UTF-8; half of a surrogate pair becomes U+FFFD. */
  text(value: string): void {
    this.#reserve(WIDEST * value.length);
    const mark = this.open();
    this.#reserve(WIDEST * value.length);
    this.#at += this.#bytes.write(value, this.#at, 'utf8');
    this.close(mark);
  }

  /** Begins something whose length is known once it is written; `close` gets what this returns. */
  open(): number {
    this.#reserve(1);
    return this.#at++;
  }

  close(mark: number): void {
    const end = this.#at;
    const length = end - mark - 1;
    if (length < 0x80) {
      this.#bytes[mark] = length;
      return;
    }
    // The length takes more than the byte that was left for it.
    this.varint(length);
    const wider = this.#at - end - 1;
    this.#reserve(wider);
    this.#bytes.copyWithin(mark + 1 + wider, mark + 1, end);
    this.#at = mark;
    this.varint(length);
    this.#at = end + wider;
  }

  /** What was written since `begin`, as a copy. */
  take(): Buffer {
    const copy = Buffer.allocUnsafe(this.#at);
    this.#bytes.copy(copy, 0, 0, this.#at);
    return copy;
  }

  #reserve(more: number): void {
    const size = this.#at + more;
    if (size <= this.#bytes.length) return;
    const bigger = Buffer.allocUnsafeSlow(Math.max(size, 2 * this.#bytes.length));
    this.#bytes.copy(bigger, 0, 0, this.#at);
    this.#bytes = bigger;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });
/** Strings up to this length are looked through for characters beyond ASCII: calling a decoder takes longer. */
const SHORT = 40;

/** Reads a message from its first byte to its last. Each method throws when bytes are malformed or end too early. */
export class Reader {
  readonly #bytes: Buffer;
  /** Where it reads next. */
  at: number;
  /** Where the message ends that it is in. */
  end: number;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.at = start;
    this.end = bytes.length;
  }

  /** A field's tag. Other implementations refuse longer forms of one, too. */
  tag(): number {
    const from = this.at;
    const tag = this.varint();
    const length = this.at - from;
    if (length > LONGEST_TAG || (length === LONGEST_TAG && this.#bytes[this.at - 1]! > LARGEST_FIFTH))
      throw new Error('a tag above 2^32 - 1');
    if (tag < 8 || (tag & 7) > WIRE.i32) throw new Error(`${tag} is no field's tag`);
    return tag;
  }

  /** A number below 2^64: exact up to 2^53 - 1, above that not. */
  varint(): number {
    const bytes = this.#bytes;
    let value = 0;
    let weight = 1;
    for (let count = 1; count <= LONGEST_VARINT; count++) {
      if (this.at >= this.end) throw new Error('it ends inside a number');
      const byte = bytes[this.at++]!;
      if (count === LONGEST_VARINT && byte > LARGEST_TENTH) break;
      if (byte < 0x80) return value + byte * weight;
      value += (byte - 0x80) * weight;
      weight *= 0x80;
    }
    throw new Error('a number above 2^64 - 1');
  }

  /** Reads a length; returns where what it counts ends. */
  extent(): number {
    const length = this.varint();
    if (length > this.end - this.at)
      throw new Error(`a length of ${length} where ${this.end - this.at} bytes are left`);
    return this.at + length;
  }

  /** A view of the bytes behind a length. */
  bytes(): Buffer {
    const till = this.extent();
    const view = this.#bytes.subarray(this.at, till);
    this.at = till;
    return view;
  }

  /**
   * A string.
   * @throws when it is not UTF-8.
   */
  text(): string {
    const till = this.extent();
    const from = this.at;
    this.at = till;
    if (till - from <= SHORT && this.#isAscii(from, till)) return this.#bytes.toString('latin1', from, till);
    try {
      return utf8.decode(this.#bytes.subarray(from, till));
    } catch (cause) {
      throw new Error('a string that is not UTF-8', { cause });
    }
  }

  #isAscii(from: number, till: number): boolean {
    for (let i = from; i < till; i++) if (this.#bytes[i]! >= 0x80) return false;
    return true;
  }

  /** Passes over a field. There are no groups in this protocol, so this cannot nest. */
  skip(wire: number): void {
    if (wire === WIRE.varint) this.varint();
    else if (wire === WIRE.length) this.at = this.extent();
    else if (wire === WIRE.i64 || wire === WIRE.i32) {
      this.at += wire === WIRE.i64 ? 8 : 4;
      if (this.at > this.end) throw new Error('it ends inside a field');
    } else throw new Error(wire === WIRE.startGroup || wire === WIRE.endGroup ? 'a group' : `wire type ${wire}`);
  }
}
