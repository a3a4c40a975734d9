/** Makes the frozen object that a framing is. */
import type { Decoder, DecoderOptions, Encoder, EncoderOptions, Framing } from '../framing.js';

/** A framing from its name and the two things it makes. */
export function makeFraming<D extends Decoder>(
  name: string,
  decoder: (options?: DecoderOptions) => D,
  encoder: (options?: EncoderOptions) => Encoder,
): Framing & { decoder(options?: DecoderOptions): D } {
  return Object.freeze({ name, decoder, encoder });
}
