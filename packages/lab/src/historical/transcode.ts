/** Converts an output to the encoding that the client wants. */
import { EncodingDetector, encodeText, textDecoder, type Encoding, type TextDecoderStream } from '../encoding.js';

/** An output in the wanted encoding: text already in it passes unchanged, text in the other one is converted. */
export async function* transcode(output: AsyncIterable<Buffer>, wanted: Encoding): AsyncGenerator<Buffer, void, void> {
  const detector = new EncodingDetector();
  let decoder: TextDecoderStream | undefined;
  const convert = (bytes: Buffer): Buffer => {
    const { encoding } = detector;
    if (encoding === undefined || encoding === wanted) return bytes;
    decoder ??= textDecoder(encoding);
    return encodeText(decoder.write(bytes), wanted);
  };
  for await (const piece of output) {
    const ready = convert(detector.push(piece));
    if (ready.length > 0) yield ready;
  }
  const rest = Buffer.concat([convert(detector.end()), encodeText(decoder?.end() ?? '', wanted)]);
  if (rest.length > 0) yield rest;
}
