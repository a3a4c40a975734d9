export * from './errors.js';
export * from './framing.js';
export { delimited, type DelimitedOptions } from './framings/delimited.js';
export { lengthPrefixed, type LengthPrefixedOptions } from './framings/length-prefixed.js';
export { lines, type LinesOptions } from './framings/lines.js';
export { varint, type VarintOptions } from './framings/varint.js';
export { parseFraming } from './parse.js';
export { decodeAsync, type DecodedFrames } from './adaptors/async-iterable.js';
export { framed, type Framed, type FramedOptions } from './adaptors/framed.js';
