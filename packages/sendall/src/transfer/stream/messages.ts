/**
 * The messages of a transfer and their bytes: a type, then fields in protobuf's encoding; entries carry the content of
 * small files behind their fields, and pieces of larger ones have a header of fixed size.
 *
 * Entries are counted from 0 in the order in which they are sent; answers name them by that number. An entry lies in the
 * folder that was entered last and not left, so a name is one component of a path.
 */
import { ProtocolError } from '../../errors.js';
import {
  bool,
  bytes,
  decodeFields,
  encodeFields,
  list,
  message,
  opt,
  text,
  uint,
  type Fields,
  type MessageOf,
} from '../../protocol/fields.js';

const HASH_BYTES = 32;

/** The version of this stream. */
export const VERSION = 1;

const SETTINGS = {
  delete: opt(bool(1)),
  exclude: list(bytes(2)),
  checksum: opt(bool(3)),
  /** Place in FSYNC. */
  fsync: uint(4),
  dryRun: opt(bool(5)),
  mode: opt(uint(6)),
  inPlace: opt(bool(7)),
  fresh: opt(bool(8)),
  into: opt(bool(9)),
};

const LEFT_OUT_COUNT = { what: text(1), count: uint(2) };

const MESSAGES = {
  // Both sides.
  /** First of all. The caller's has the settings. */
  begin: [
    0x01,
    {
      version: uint(1),
      settings: opt(message(2, SETTINGS)),
      /** From the sender: how many sources there are, and the name of a single one. */
      sources: opt(uint(3)),
      name: opt(bytes(4)),
      /** From a receiver that has no settings: whether sources land in the destination; see `TransferSettings`. */
      into: opt(bool(5)),
    },
  ],
  /** The sender: nothing follows. The receiver: everything is settled. `entries`: how many there were. */
  done: [0x02, { entries: uint(1), leftOut: list(message(2, LEFT_OUT_COUNT)) }],
  /** The whole transfer failed. */
  fatal: [0x03, { reason: text(1), errno: opt(text(2)) }],
  /** A file failed: an entry by its number, or what has none by its path. */
  problem: [0x04, { file: opt(uint(1)), path: opt(bytes(2)), reason: text(3), errno: opt(text(4)) }],
  // From the sender.
  entry: [
    0x10,
    {
      name: bytes(1),
      /** 0 file, 1 folder, 2 link. */
      kind: uint(2),
      mode: uint(3),
      /** Of the time of the last change: s for 0 and above as 2s, below as -2s - 1. */
      seconds: uint(4),
      nanoseconds: uint(5),
      /** Absent when it is known only at the end. */
      size: opt(uint(6)),
      uid: opt(uint(7)),
      gid: opt(uint(8)),
      target: opt(bytes(9)),
      /** Bytes of it that are holes, about. */
      holes: opt(uint(10)),
      /** Its content stands behind the fields. */
      carried: opt(bool(11)),
      /** Of a file that is carried, or is to be compared by its content. */
      sha256: opt(bytes(12, HASH_BYTES)),
      /** A source whose name is not for the other side: a stream, or a folder of which only the contents are meant. */
      nameless: opt(bool(13)),
    },
  ],
  /** The folder entered last is over. `complete`: the sender has named all that it has. */
  leave: [0x11, { complete: opt(bool(1)) }],
  /** The content of a file is complete. `sum`: see `ContentSum`. */
  end: [0x13, { file: uint(1), size: uint(2), sum: bytes(3, HASH_BYTES) }],
  /** The first bytes that the receiver has are not those of the source: its content comes from the start. */
  afresh: [0x15, { file: uint(1) }],
  /** What does not travel. */
  skipped: [0x14, { path: bytes(1), reason: text(2) }],
  // From the receiver.
  want: [0x20, { file: uint(1) }],
  /** Want, but for the first `offset` bytes if `sha256` is their hash. */
  have: [0x21, { file: uint(1), offset: uint(2), sha256: bytes(3, HASH_BYTES) }],
  same: [0x22, { file: uint(1) }],
  placed: [0x23, { file: uint(1) }],
  deleted: [0x24, { path: bytes(1), kind: uint(2) }],
} as const satisfies Record<string, readonly [number, Fields]>;

type Name = keyof typeof MESSAGES;
/** A message's fields, by its name. */
export type Body<N extends Name> = MessageOf<(typeof MESSAGES)[N][1]>;

/** A piece of a larger file. */
export interface DataMessage {
  readonly type: 'data';
  readonly file: number;
  readonly offset: number;
  readonly bytes: Buffer;
}
/** Any message; entries have the content of small files. */
export type TransferMessage =
  | DataMessage
  | { [N in Exclude<Name, 'entry'>]: { readonly type: N } & Body<N> }[Exclude<Name, 'entry'>]
  | ({ readonly type: 'entry'; readonly content: Buffer } & Body<'entry'>);

const byType = new Map<number, [Name, Fields]>();
for (const [name, [type, fields]] of Object.entries(MESSAGES)) byType.set(type, [name as Name, fields]);

const TYPE_BYTES = 1;
/** A type and the length of an entry's fields. */
const ENTRY_HEADER = TYPE_BYTES + 2;
const DATA_TYPE = 0x12;
/** A data frame without its bytes: type, file, offset in two halves. */
export const DATA_HEADER = TYPE_BYTES + 4 + 4 + 4;
const HALF = 0x1_0000_0000;

/** Encodes any message but entries and data. */
export function encodeMessage<N extends Exclude<Name, 'entry'>>(name: N, body: Body<N>): Buffer {
  const [type, fields] = MESSAGES[name];
  const frame = encodeFields(fields as Fields, body as MessageOf<Fields>, TYPE_BYTES);
  frame[0] = type;
  return frame;
}

/** Encodes an entry; the content of a small file follows it in the same frame. */
export function encodeEntry(body: Body<'entry'>): Buffer {
  const [type, fields] = MESSAGES.entry;
  const frame = encodeFields(fields, body, ENTRY_HEADER);
  frame[0] = type;
  frame.writeUInt16BE(frame.length - ENTRY_HEADER, TYPE_BYTES);
  return frame;
}

/** Whether a frame is a piece of a larger file. */
export const isData = (frame: Buffer): boolean => frame[0] === DATA_TYPE;

/** Writes the header of a data frame at `at`. */
export function writeDataHeader(frame: Buffer, at: number, file: number, offset: number): void {
  frame[at] = DATA_TYPE;
  frame.writeUInt32BE(file, at + TYPE_BYTES);
  frame.writeUInt32BE(Math.floor(offset / HALF), at + TYPE_BYTES + 4);
  frame.writeUInt32BE(offset % HALF, at + TYPE_BYTES + 8);
}

/**
 * Decodes a frame. Byte fields are views of it.
 * @throws ProtocolError for anything that is no message.
 */
export function decodeMessage(frame: Buffer): TransferMessage {
  const type = frame[0];
  if (type === DATA_TYPE) return decodeData(frame);
  const known = type === undefined ? undefined : byType.get(type);
  if (!known) throw new ProtocolError(type === undefined ? 'a frame without a message' : `no message has type ${type}`);
  const [name, fields] = known;
  if (name === 'entry') return decodeEntry(frame);
  const body = decodeFields(fields, frame, name, TYPE_BYTES);
  return { type: name, ...body } as TransferMessage;
}

function decodeData(frame: Buffer): DataMessage {
  if (frame.length <= DATA_HEADER) throw new ProtocolError('data: a frame without bytes');
  const offset = frame.readUInt32BE(TYPE_BYTES + 4) * HALF + frame.readUInt32BE(TYPE_BYTES + 8);
  if (!Number.isSafeInteger(offset)) throw new ProtocolError(`data.offset: ${offset} is above 2^53 - 1`);
  return { type: 'data', file: frame.readUInt32BE(TYPE_BYTES), offset, bytes: frame.subarray(DATA_HEADER) };
}

function decodeEntry(frame: Buffer): TransferMessage {
  const end = frame.length < ENTRY_HEADER ? Infinity : ENTRY_HEADER + frame.readUInt16BE(TYPE_BYTES);
  if (end > frame.length) throw new ProtocolError('entry: its frame ends inside its fields');
  const body = decodeFields(MESSAGES.entry[1], frame.subarray(0, end), 'entry', ENTRY_HEADER);
  return { type: 'entry', ...body, content: frame.subarray(end) };
}
