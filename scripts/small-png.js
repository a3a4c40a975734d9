/** Makes a screenshot small: a PNG of 96 colours instead of all, which drawn pages hardly miss. */
import { crc32, deflateSync, inflateSync } from 'node:zlib';

const SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex');
const MOST_COLOURS = 96;

/**
 * @param {Buffer} png of 8 bits a channel, RGB or RGBA, not interlaced, as browsers write it
 * @returns {Buffer} the same picture with a palette
 */
export function smallPng(png) {
  const { width, height, colours } = pixelsOf(png);
  const palette = paletteOf(colours);
  const nearest = new Map(palette.map((colour, index) => [colour, index]));
  const rows = Buffer.alloc((width + 1) * height); // each begins with its filter: none
  for (const [at, colour] of colours.entries()) {
    let index = nearest.get(colour);
    if (index === undefined) nearest.set(colour, (index = closest(colour, palette)));
    rows[at + Math.floor(at / width) + 1] = index;
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3, 0, 0, 0], 8); // eight bits, from a palette
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', head),
    chunk('PLTE', Buffer.from(palette.flatMap(channels))),
    chunk('IDAT', deflateSync(rows, { level: 9, memLevel: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** @param {number} colour */
const channels = (colour) => [colour >> 16, (colour >> 8) & 255, colour & 255];

/** The most frequent colours. @param {Uint32Array} colours */
function paletteOf(colours) {
  /** @type {Map<number, number>} */
  const counts = new Map();
  for (const colour of colours) counts.set(colour, (counts.get(colour) ?? 0) + 1);
  return [...counts]
    .toSorted((a, b) => b[1] - a[1])
    .slice(0, MOST_COLOURS)
    .map(([colour]) => colour);
}

/**
 * @param {number} colour
 * @param {number[]} palette
 */
function closest(colour, palette) {
  const own = channels(colour);
  let [best, least] = [0, Infinity];
  for (const [index, each] of palette.entries()) {
    const distance = channels(each).reduce((sum, channel, i) => sum + (channel - own[i]) ** 2, 0);
    if (distance < least) [best, least] = [index, distance];
  }
  return best;
}

/**
 * @param {string} type
 * @param {Buffer} data
 */
function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type), data]);
  const frame = Buffer.alloc(8 + body.length);
  frame.writeUInt32BE(data.length, 0);
  body.copy(frame, 4);
  frame.writeUInt32BE(crc32(body), 4 + body.length);
  return frame;
}

/** Each pixel as one number. @param {Buffer} png */
function pixelsOf(png) {
  const width = png.readUInt32BE(16);
  const height = png.readUInt32BE(20);
  const depth = { 2: 3, 6: 4 }[png[25]];
  if (png[24] !== 8 || depth === undefined || png[28] !== 0) throw new Error('not a PNG as browsers write it');
  const parts = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at))
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT')
      parts.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  const raw = inflateSync(Buffer.concat(parts));
  const long = width * depth;
  const rows = Buffer.alloc(long * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (long + 1)];
    for (let x = 0; x < long; x++) {
      const left = x < depth ? 0 : rows[y * long + x - depth];
      const up = y === 0 ? 0 : rows[(y - 1) * long + x];
      const corner = x < depth || y === 0 ? 0 : rows[(y - 1) * long + x - depth];
      const predicted = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
      rows[y * long + x] = raw[y * (long + 1) + 1 + x] + predicted;
    }
  }
  const colours = new Uint32Array(width * height);
  for (let i = 0; i < colours.length; i++)
    colours[i] = (rows[i * depth] << 16) | (rows[i * depth + 1] << 8) | rows[i * depth + 2];
  return { width, height, colours };
}

/** PNG's own predictor (ISO/IEC 15948, 9.4). @type {(a: number, b: number, c: number) => number} */
function paeth(a, b, c) {
  const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
}
