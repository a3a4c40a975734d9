/** The entries of a journal: every kind of them, and each as bytes in a frame. */
import { randomFillSync } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { lengthPrefixed } from '@sendall/framing';
import { SendallError } from '../../errors.js';
import { bool, bytes, decodeFields, encodeFields, list, message, opt, text, uint } from '../../protocol/fields.js';
import type { Fields, MessageOf } from '../../protocol/fields.js';
import { MESSAGES } from '../../protocol/messages.js';

/** Every kind of entry. `no` is the run's number in this journal, given by its intent. */
const ENTRIES = {
  /** First in the file. OPENs whose notAfter is at or below forgottenBefore are refused: their ids may be forgotten. */
  header: [1, { version: uint(1), epoch: bytes(2), forgottenBeforeMs: uint(3) }],
  /** A keeper began to write here. */
  keeper: [2, { bootId: text(1), pid: uint(2), startMs: uint(3) }],
  intent: [
    3,
    {
      no: uint(1),
      principal: text(2),
      runId: bytes(3),
      specHash: bytes(4),
      notAfterMs: uint(5),
      openedMs: uint(6),
      /** The words `ps` shows; "sh -c" alone for shell text. */
      argv: list(bytes(7)),
      name: opt(text(8)),
      tags: list(text(9)),
      keepMs: uint(10),
      /** Nothing is kept of it once its caller has the end. */
      passing: opt(bool(11)),
    },
  ],
  started: [
    4,
    {
      no: uint(1),
      pid: uint(2),
      startMs: uint(3),
      program: bytes(4),
      /** Kernel clock ticks at the leader's start: a pid that is used again has another. */
      ticks: opt(uint(5)),
      cgroup: opt(text(6)),
      bootId: text(7),
    },
  ],
  refused: [5, { no: uint(1), code: text(2), message: text(3) }],
  /** Without `stored` the command ended while its last output could not be stored. `logIndex`: its record in the log. */
  exit: [6, { no: uint(1), exit: message(2, MESSAGES.EXIT[1]), stored: bool(3), logIndex: opt(uint(4)) }],
  treeEnd: [7, { no: uint(1) }],
  acked: [8, { no: uint(1) }],
  /** The run's output and result are gone; its id is still refused until it expires. */
  dropped: [9, { no: uint(1) }],
  /** The id itself is forgotten. */
  forgotten: [10, { no: uint(1), notAfterMs: uint(2) }],
  /** A line of the log, which its files may not have yet. */
  line: [11, { index: uint(1), line: bytes(2) }],
  /** The log's files are durable up to here; see Mark in `log/log-files.ts`. `id`: which log it is. */
  logged: [12, { id: bytes(1), size: uint(2), root: bytes(3), first: uint(4), bytes: uint(5) }],
} as const satisfies { [kind: string]: readonly [number, Fields] };

type Table = typeof ENTRIES;
export type EntryKind = keyof Table;
export type JournalEntry = { [K in EntryKind]: { kind: K } & MessageOf<Table[K][1]> }[EntryKind];
export type EntryOf<K extends EntryKind> = Extract<JournalEntry, { kind: K }>;

const ENTRY_BY_CODE = new Map<number, readonly [string, Fields]>(
  Object.entries(ENTRIES).map(([kind, [code, fields]]) => [code, [kind, fields]]),
);

/** An entry is at most this long; what outsiders can make long in it is cut before. */
export const MAX_ENTRY = 64 * 1024;
/** Characters of a text that others have made. */
const LONGEST_TEXT = 1000;
/** A text as an entry takes it. */
export const cutText = (text: string): string =>
  text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;

/** How entries stand in a journal. */
export const FRAMING = lengthPrefixed({
  maxFrameLength: MAX_ENTRY,
  checksum: { bytes: 4, compute: (payload) => crc32(payload) },
});

/**
 * Callers choose words that stand in entries. Each entry is masked by bytes that they cannot know, so that a part of one
 * never passes for a whole one when reading goes on behind damage.
 */
const MASK = 4;
const HEAD = 1 + MASK;
const masks = Buffer.alloc(MASK * 1024);
let nextMask = masks.length;

/** Writes a new mask behind an entry's kind. */
function drawMask(payload: Buffer): void {
  if (nextMask === masks.length) {
    randomFillSync(masks);
    nextMask = 0;
  }
  masks.copy(payload, 1, nextMask, (nextMask += MASK));
}

/** Masks `from` into `to`, or unmasks it, by the mask in `payload`. */
function applyMask(payload: Buffer, from: Uint8Array, to: Uint8Array): void {
  for (let i = 0; i < from.length; i++) to[i] = from[i]! ^ payload[1 + (i & (MASK - 1))]!;
}

function payloadOf(entry: JournalEntry): Buffer {
  const [code, fields] = ENTRIES[entry.kind];
  const body = encodeFields(fields as Fields, entry as unknown as MessageOf<Fields>);
  const payload = Buffer.allocUnsafe(HEAD + body.length);
  payload[0] = code;
  drawMask(payload);
  applyMask(payload, body, payload.subarray(HEAD));
  return payload;
}

const encoder = FRAMING.encoder();

/** Whether a frame's first byte names a kind of entry. */
export const isKind = (code: number): boolean => ENTRY_BY_CODE.has(code);

/** Entries in frames, as they stand in a journal. */
export const encodeEntries = (entries: Iterable<JournalEntry>): Buffer =>
  encoder.encodeAll(Array.from(entries, payloadOf));

/** One entry in its frame. */
export const encodeEntry = (entry: JournalEntry): Buffer => encoder.encode(payloadOf(entry));

/** @throws SendallError JOURNAL for a kind that this keeper does not know. */
export function decodeEntry(payload: Buffer): JournalEntry {
  const known = ENTRY_BY_CODE.get(payload[0]!);
  if (!known) throw new SendallError('JOURNAL', `the journal holds an entry of unknown kind ${payload[0]}`);
  const [kind, fields] = known;
  const body = new Uint8Array(Math.max(payload.length - HEAD, 0));
  applyMask(payload, payload.subarray(HEAD), body);
  const entry = decodeFields(fields as Fields, body, kind);
  return { kind, ...entry } as unknown as JournalEntry;
}
