/** A door with one framing, for programs whose start counts: it loads a third of the files. */
export { lengthPrefixed, type LengthPrefixedOptions } from './framings/length-prefixed.js';
export type { Decoder, Encoder, Framing } from './framing.js';
