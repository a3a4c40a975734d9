/**
 * The binary frame that carries a piece of output to the page: subscription (u32), stream (u8), offset of the first byte
 * (u48), milliseconds since the run's start (u32), all big-endian, then the bytes. It runs in a browser too.
 */

/** Bytes before those of the output. */
export const FRAME_HEADER = 15;
/** The streams by number. */
export const FRAME_STREAMS = ['stdout', 'stderr', 'terminal'] as const;
/** The time of a piece whose time is not known. */
const UNKNOWN = 0xffff_ffff;
const LARGEST_SUBSCRIPTION = 0xffff_ffff;
const LARGEST_OFFSET = 2 ** 48 - 1;

/** A piece of a run's output. */
export interface OutputFrame {
  readonly sub: number;
  readonly stream: (typeof FRAME_STREAMS)[number];
  /** Offset of the first byte in its stream. */
  readonly offset: number;
  /** Milliseconds since the run's start; undefined when that is not known. */
  readonly timeMs: number | undefined;
  readonly bytes: Uint8Array;
}

/** Encodes the header. @throws RangeError for a number that does not fit. */
export function frameHeader({ sub, stream, offset, timeMs }: Omit<OutputFrame, 'bytes'>): Uint8Array<ArrayBuffer> {
  const number = FRAME_STREAMS.indexOf(stream);
  if (!isWhole(sub, LARGEST_SUBSCRIPTION) || !isWhole(offset, LARGEST_OFFSET) || number < 0)
    throw new RangeError(`no frame has subscription ${sub}, stream ${stream} and offset ${offset}`);
  const header = new DataView(new ArrayBuffer(FRAME_HEADER));
  header.setUint32(0, sub);
  header.setUint8(4, number);
  header.setUint16(5, Math.floor(offset / 2 ** 32));
  header.setUint32(7, offset % 2 ** 32);
  // A run of more than 49 days: its pieces have the last time that fits.
  header.setUint32(11, timeMs === undefined ? UNKNOWN : Math.min(Math.max(0, Math.round(timeMs)), UNKNOWN - 1));
  return new Uint8Array(header.buffer);
}

/** Decodes a frame; its bytes are a view. Undefined when it is none. */
export function readFrame(frame: Uint8Array): OutputFrame | undefined {
  if (frame.length < FRAME_HEADER) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const stream = FRAME_STREAMS[view.getUint8(4)];
  const timeMs = view.getUint32(11);
  if (stream === undefined) return undefined;
  return {
    sub: view.getUint32(0),
    stream,
    offset: view.getUint16(5) * 2 ** 32 + view.getUint32(7),
    timeMs: timeMs === UNKNOWN ? undefined : timeMs,
    bytes: frame.subarray(FRAME_HEADER),
  };
}

const isWhole = (value: number, most: number): boolean => Number.isInteger(value) && value >= 0 && value <= most;
