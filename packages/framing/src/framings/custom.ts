/** Framings that a user writes as one function. */
import { Buffer } from 'node:buffer';
import { FrameDecoder } from '../decoder.js';
import { copyBytes, FrameEncoder } from '../encoder.js';
import { MalformedFrameError } from '../errors.js';
import type { Bytes, DecoderOptions, EncoderOptions, Framing, Limits } from '../framing.js';
import { callback, checkOptions, limitRules, type Policy, policyOf, wrongOption } from '../options.js';
import { asBuffer } from '../view.js';
import { makeFraming } from './make.js';

/**
 * What a user's framing says about the bytes it sees: `need` bytes of the frame in all before another look makes sense
 * (0 when it cannot tell), or that `consumed` bytes are done with, and which of them, from and to as positions in the
 * buffer, are the payload. Without `frame` they are no frame: noise, or an idle byte.
 *
 * `state` comes back with the next look at the same frame.
 */
export type Split<State = unknown> =
  | { readonly need: number; readonly state?: State }
  | { readonly frame?: readonly [from: number, to: number]; readonly consumed: number };

/**
 * Looks at [start, end) of `buf`, which begins with a frame's first byte. `ended`: the stream ends there. To refuse the
 * bytes, throw: the error becomes the cause of a {@link MalformedFrameError}.
 *
 * `state` is what it answered with `need` at its last look at this frame, and undefined at the first one: how far it
 * got, so that a frame of many parts is not looked through again for every chunk. Positions in it count from `start`,
 * as the bytes move between two looks. It may be undefined again at the end of the stream.
 *
 * What it answers for some bytes it must answer for every longer run that begins with them, and the same with and
 * without a state; `verifyFraming` finds out whether it does.
 */
export type SplitFunction<State = unknown> = (
  buf: Buffer,
  start: number,
  end: number,
  ended: boolean,
  state: State | undefined,
) => Split<State>;

/** Options of {@link custom}. Frames that are too big cannot be skipped, as their end is not known. */
export interface CustomOptions extends Omit<Limits, 'onOversize' | 'report'> {
  /** The frame for a payload. Without it the framing has no encoder. */
  encode?(payload: Buffer): Bytes;
}

/** Bytes a frame may have beside its payload. */
const OVERHEAD = 64 * 1024;

const rules = { ...limitRules, encode: callback<NonNullable<CustomOptions['encode']>>() };

/**
 * A framing of your own: the function says where the next frame is, the rest (chunks, limits, errors, adaptors) comes
 * from here. A frame may have up to 64 KiB beside its payload.
 *
 * ```ts
 * const pairs = custom('pairs', (buf, start, end) =>
 *   end - start < 2 ? { need: 2 } : { frame: [start, start + 2], consumed: 2 });
 * ```
 * @throws OptionError for an option that is not known or does not fit
 */
export function custom<State = unknown>(name: string, split: SplitFunction<State>, options?: CustomOptions): Framing {
  if (typeof name !== 'string' || name === '') throw wrongOption('custom', 'name', 'the framing needs a name');
  const where = `custom: ${name}`;
  if (typeof split !== 'function') throw wrongOption(where, 'split', 'a function that splits is needed');
  if (options !== undefined && ('onOversize' in options || 'report' in options)) {
    throw wrongOption(where, 'onOversize', 'frames cannot be skipped, as the end of one that is too big is not known');
  }
  const policy = policyOf(checkOptions(where, options, rules));
  return makeFraming(
    name,
    (o) => new CustomDecoder(name, split, policy, o),
    (o) => {
      if (options?.encode === undefined) throw wrongOption(name, 'encode', 'the framing was made without "encode"');
      return new CustomEncoder(name, options, policy, o);
    },
  );
}

class CustomDecoder<State> extends FrameDecoder {
  readonly #split: SplitFunction<State>;
  #state: State | undefined;

  constructor(name: string, split: SplitFunction<State>, policy: Policy, options?: DecoderOptions) {
    super(name, policy, options);
    this.#split = split;
  }

  protected override locate(buf: Buffer, start: number, end: number): number {
    const state = this.scanned === 0 ? undefined : this.#state;
    this.#state = undefined;
    let answer: Split<State>;
    try {
      answer = this.#split(buf, start, end, this.atEnd, state);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      return this.refuse(buf, start, end, undefined, (place) => new MalformedFrameError(why, place, { cause }));
    }
    const have = end - start;
    if ('need' in answer) {
      if (!Number.isSafeInteger(answer.need) || answer.need < 0) throw this.#wrong(`need ${answer.need}`);
      if (Math.max(have, answer.need) > this.limit + OVERHEAD) return this.#tooMuch(buf, start, end);
      this.#state = answer.state;
      this.scanned = have;
      if (answer.need === 0) return this.more(0, false);
      // Not more than is there can only be meant as "that many more".
      return answer.need > have ? this.more(answer.need, true) : this.more(have + answer.need, false);
    }
    const { consumed, frame } = answer;
    if (!Number.isSafeInteger(consumed) || consumed < 1 || consumed > have) throw this.#wrong(`consumed ${consumed}`);
    const next = start + consumed;
    if (frame === undefined) {
      this.from = -1;
      return next;
    }
    const [from, to] = frame;
    if (!(from >= start && from <= to && to <= next))
      throw this.#wrong(`frame ${from} to ${to} of ${start} to ${next}`);
    if (to - from > this.limit || consumed > this.limit + OVERHEAD) return this.#tooMuch(buf, start, end);
    this.from = from;
    this.to = to;
    return next;
  }

  #tooMuch(buf: Buffer, start: number, end: number): number {
    return this.tooLarge(buf, start, end, this.limit + 1, Infinity);
  }

  #wrong(what: string): TypeError {
    return new TypeError(`${this.framing}: the function that splits answered ${what}, which cannot be`);
  }

  protected override finish(_buf: Buffer, start: number, end: number): boolean {
    this.from = start;
    this.to = end;
    return end - start <= this.limit;
  }
}

class CustomEncoder extends FrameEncoder {
  readonly #options: CustomOptions;

  constructor(name: string, options: CustomOptions, policy: Policy, encoderOptions?: EncoderOptions) {
    super(name, policy, encoderOptions);
    this.#options = options;
  }

  protected override measure(payload: Buffer): number {
    return this.#encoded(payload).length;
  }

  protected override fill(payload: Buffer, target: Buffer, at: number): void {
    copyBytes(this.#encoded(payload), target, at);
  }

  #encoded(payload: Buffer): Buffer {
    this.checkLimit(payload, payload.length);
    return asBuffer(this.#options.encode?.(payload) ?? payload);
  }
}
