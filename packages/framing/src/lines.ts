/** A door with framings by what ends a frame, for programs whose start counts: it loads a third of the files. */
export { delimited, type DelimitedOptions } from './framings/delimited.js';
export { lines, type LineDecoder, type LineFraming, type LinesOptions } from './framings/lines.js';
export type { Decoder, Encoder, Framing } from './framing.js';
