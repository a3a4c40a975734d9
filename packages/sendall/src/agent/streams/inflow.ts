/**
 * A caller's stdin on its way to the keeper. What the keeper would have to refuse is refused here, as an error of that
 * caller's link, before it takes any of the keeper's time.
 */
import { ProtocolError } from '../../errors.js';
import { MAX_DATA } from '../../protocol/messages.js';

export class Inflow {
  /** The next byte that was not passed on yet; undefined until the keeper has said where the stream stands. */
  #next: number | undefined;
  /** The keeper takes bytes below this offset. */
  #limit = 0;
  #final: number | undefined;
  #adrift = false;

  /** The keeper's link was lost: until it says where the stream stands what comes goes nowhere, and is sent again then. */
  unplace(): void {
    this.#adrift = this.#next !== undefined;
  }

  /** The keeper's next byte is `next`. */
  place(next: number, final: number | undefined): void {
    this.#next = next;
    this.#final = final;
    this.#adrift = false;
  }

  allow(limit: number): void {
    this.#limit = Math.max(this.#limit, limit);
  }

  /**
   * What of a piece is new, if any.
   * @throws ProtocolError for a hole, and for bytes beyond credit or end.
   */
  take(offset: number, bytes: Buffer): { offset: number; bytes: Buffer } | undefined {
    if (bytes.length > MAX_DATA)
      throw new ProtocolError(`stdin: a piece of ${bytes.length} bytes, more than ${MAX_DATA}`);
    const next = this.#placed();
    if (this.#adrift) return undefined;
    const end = offset + bytes.length;
    if (offset > next) throw new ProtocolError(`stdin: bytes from ${offset} came where ${next} is next`);
    if (end <= next) return undefined;
    if (this.#final !== undefined && end > this.#final)
      throw new ProtocolError(`stdin: bytes after its end at ${this.#final}`);
    if (end > this.#limit) throw new ProtocolError(`stdin: ${end - this.#limit} bytes beyond the credit`);
    this.#next = end;
    return { offset: next, bytes: bytes.subarray(next - offset) };
  }

  /**
   * The stream ends. False when that was known.
   * @throws ProtocolError when it contradicts what came.
   */
  end(final: number): boolean {
    const next = this.#placed();
    if (this.#adrift) return false;
    if (this.#final === final) return false;
    if (this.#final !== undefined) throw new ProtocolError(`stdin ended at ${this.#final} and again at ${final}`);
    if (final < next) throw new ProtocolError(`stdin ends at ${final}, but ${next} bytes have come`);
    this.#final = final;
    return true;
  }

  #placed(): number {
    if (this.#next === undefined) throw new ProtocolError('stdin came before OPENED or ATTACHED');
    return this.#next;
  }
}
