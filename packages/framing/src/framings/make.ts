import type { Decoder, DecoderOptions, Encoder, EncoderOptions, Framing } from '../framing.js';

/** A framing from its name and the two things it makes. */
export function makeFraming(
  name: string,
  decoder: (options?: DecoderOptions) => Decoder,
  encoder: (options?: EncoderOptions) => Encoder,
): Framing {
  return Object.freeze({ name, decoder, encoder });
}
