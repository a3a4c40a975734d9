/** Reading a journal file: its sound entries, and whether anything between or behind them cannot be read. */
import { crc32 } from 'node:zlib';
import { SendallError } from '../../errors.js';
import { decodeEntry, FRAMING, isKind, MAX_ENTRY, type JournalEntry } from './entries.js';

/** How many bytes may be summed up in search of frames: bytes can be made so that each of them looks like one. */
const LONGEST_SEARCH = 1024 * 1024 * 1024;
const BLANK = Buffer.alloc(64 * 1024);

/** What a journal file says. */
export interface Reading {
  /** Its sound entries. */
  readonly entries: JournalEntry[];
  /** Where the last of them ends. */
  readonly end: number;
  /** Something that cannot be read stands between them. */
  readonly broken: boolean;
  /** Something that cannot be read follows the last of them. */
  readonly torn: boolean;
}

/** Reads a journal file; behind what is damaged it goes on with the next sound entry. */
export function readJournal(file: Uint8Array): Reading {
  const entries: JournalEntry[] = [];
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.length);
  const search: Search = { left: LONGEST_SEARCH };
  let end = readSound(bytes, 0, entries);
  let broken = false;
  for (;;) {
    if (isBlank(bytes, end)) return { entries, end, broken, torn: false };
    const next = nextSound(bytes, end, search);
    if (next === undefined) return { entries, end, broken, torn: true };
    broken = true;
    end = readSound(bytes, next, entries);
  }
}

/** Reads sound frames from `from` on; returns where the last one ends. */
function readSound(file: Buffer, from: number, entries: JournalEntry[]): number {
  const decoder = FRAMING.decoder();
  let end = from;
  try {
    decoder.push(file.subarray(from), (payload) => {
      // Zeros written ahead look like empty frames, whose CRC-32 is zero too.
      if (payload.length === 0) return false;
      entries.push(decodeEntry(payload));
      end += 4 + payload.length + 4;
      return undefined;
    });
  } catch (error) {
    // A frame that is not sound is looked at by the caller; a sound one that we cannot read is another matter.
    if (error instanceof SendallError) throw error;
  }
  return end;
}

/** Whether only zeros follow. */
function isBlank(file: Buffer, from: number): boolean {
  for (let at = from; at < file.length; at += BLANK.length) {
    const part = file.subarray(at, at + BLANK.length);
    if (!part.equals(BLANK.subarray(0, part.length))) return false;
  }
  return true;
}

/** Bytes that may still be summed up. */
interface Search {
  left: number;
}

/** Where the next sound frame begins, behind a damaged one at `from`. */
function nextSound(file: Buffer, from: number, search: Search): number | undefined {
  for (let at = from + 1; at + 8 < file.length; at++) if (isSound(file, at, search)) return at;
  return undefined;
}

function isSound(file: Buffer, at: number, search: Search): boolean {
  if (at + 8 >= file.length || !isKind(file[at + 4]!)) return false;
  const length = file.readUInt32BE(at);
  const end = at + 4 + length;
  if (length === 0 || length > MAX_ENTRY || end + 4 > file.length || length > search.left) return false;
  search.left -= length;
  return crc32(file.subarray(at + 4, end)) === file.readUInt32BE(end);
}
