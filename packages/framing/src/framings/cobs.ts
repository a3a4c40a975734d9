/** COBS: frames that end with a zero byte and have none inside. */
import { Buffer } from 'node:buffer';
import { FrameDecoder, MORE, RESYNC } from '../decoder.js';
import { FrameEncoder } from '../encoder.js';
import type { DecoderOptions, EncoderOptions, Framing, Limits } from '../framing.js';
import { allocate } from '../memory.js';
import { checkOptions, limitRules, type Policy, policyOf, word } from '../options.js';
import { makeFraming } from './make.js';

/** Options of {@link cobs}. */
export interface CobsOptions extends Limits {
  /** `skip`: a malformed frame is reported and dropped to the next zero. @default 'fail' */
  onMalformed?: 'fail' | 'skip';
}

const rules = { ...limitRules, onMalformed: word('fail', 'skip') };

/**
 * Consistent Overhead Byte Stuffing: a frame ends with a zero byte, and has none inside: each zero of the payload is
 * replaced by the distance to the next, at a cost of at most one byte in 254. Zeros between frames are idle time; an
 * empty payload is the frame `01 00`.
 * Source: S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking 7 (1999).
 * @throws OptionError for an option that is not known or does not fit
 */
export function cobs(options?: CobsOptions): Framing {
  const checked = checkOptions('cobs', options, rules);
  const policy = policyOf(checked);
  const skip = checked.onMalformed === 'skip';
  return makeFraming(
    'cobs',
    (o) => new CobsDecoder(skip, policy, o),
    (o) => new CobsEncoder(policy, o),
  );
}

/** A code of 255: 254 bytes follow, and no zero behind them. */
const FULL = 255;

class CobsDecoder extends FrameDecoder {
  readonly #skipMalformed: boolean;
  /** Payload bytes of the blocks so far; a zero is due before the next. `scanned` is where the next block begins. */
  #size = 0;
  #zeroDue = false;

  constructor(skipMalformed: boolean, policy: Policy, options?: DecoderOptions) {
    super('cobs', policy, options);
    this.#skipMalformed = skipMalformed;
  }

  protected override locate(buf: Buffer, start: number, end: number): number {
    if (this.scanned === 0) {
      this.#size = 0;
      this.#zeroDue = false;
    }
    const found = buf.indexOf(0, start + this.scanned);
    const ended = found >= 0;
    const stop = ended ? found : end;
    if (ended && found === start) {
      this.from = -2;
      return start + 1;
    }
    let at = start + this.scanned;
    while (at < stop) {
      const code = buf[at] as number;
      const next = at + code;
      const size = this.#size + (this.#zeroDue ? 1 : 0);
      if (size + Math.min(next, stop) - at - 1 > this.limit) {
        return this.tooLarge(buf, start, end, this.limit + 1, RESYNC);
      }
      if (next > stop) {
        if (!ended) return this.more(0, false);
        const drop = this.#skipMalformed ? found + 1 - start : undefined;
        return this.malformed(buf, start, end, `a zero stands ${next - stop} bytes before the end of a block`, drop);
      }
      this.#size = size + code - 1;
      this.#zeroDue = code < FULL;
      at = next;
      this.scanned = at - start;
    }
    if (!ended) return this.more(0, false);
    this.#unstuff(buf, start, found);
    return found + 1;
  }

  #unstuff(buf: Buffer, start: number, end: number): void {
    if (start + (buf[start] as number) === end) {
      // One block: its bytes are the payload as they stand there.
      this.from = start + 1;
      this.to = end;
      return;
    }
    const made = allocate(this.#size);
    let length = 0;
    for (let at = start; at < end;) {
      const code = buf[at] as number;
      buf.copy(made, length, at + 1, at + code);
      length += code - 1;
      at += code;
      if (code < FULL && at < end) made[length++] = 0;
    }
    this.made = made;
    this.from = 0;
    this.to = length;
  }

  protected override resync(buf: Buffer, start: number, end: number): number {
    const found = buf.indexOf(0, start);
    if (found >= 0) return found + 1;
    this.keep = end;
    return MORE;
  }

  protected override finish(buf: Buffer, start: number, end: number): boolean {
    if (start + this.scanned !== end) return false;
    this.#unstuff(buf, start, end);
    return true;
  }
}

class CobsEncoder extends FrameEncoder {
  constructor(policy: Policy, options?: EncoderOptions) {
    super('cobs', policy, options);
  }

  protected override measure(payload: Buffer): number {
    this.checkLimit(payload, payload.length);
    // One code for each run of non-zero bytes, and one more for each 254 bytes in it, but not at the very end.
    let codes = 1;
    let run = 0;
    const last = payload.length - 1;
    for (let i = 0; i <= last; i++) {
      if (payload[i] === 0) {
        codes++;
        run = 0;
      } else if (++run === FULL - 1) {
        if (i < last) codes++;
        run = 0;
      }
    }
    return payload.length - zeros(payload) + codes + 1;
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    let codeAt = at;
    let to = at + 1;
    let code = 1;
    const last = payload.length - 1;
    for (let i = 0; i <= last; i++) {
      const byte = payload[i] as number;
      if (byte !== 0) {
        target[to++] = byte;
        code++;
      }
      if (byte === 0 || (code === FULL && i < last)) {
        target[codeAt] = code;
        codeAt = to++;
        code = 1;
      }
    }
    target[codeAt] = code;
    target[to] = 0;
  }
}

function zeros(payload: Buffer): number {
  let count = 0;
  for (let at = payload.indexOf(0); at >= 0; at = payload.indexOf(0, at + 1)) count++;
  return count;
}
