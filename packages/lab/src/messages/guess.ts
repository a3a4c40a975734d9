/** Guesses the framing of a stream from its first bytes. */
import { recognize } from './first-bytes.js';
import { Tap } from './tap.js';

/** A framing that fits the observed bytes, and how well. */
export interface Guess {
  readonly framing: string;
  /** The protocol, if the first bytes show it. */
  readonly protocol?: string;
  /** 0 to 1. */
  readonly score: number;
  readonly messages: number;
}

/**
 * Candidates, the more specific first: when two fit equally well, the earlier one is likelier, because its rules are
 * harder to meet by chance.
 */
const CANDIDATES: readonly { spec: string; telling: number }[] = [
  { spec: 'content-length', telling: 1 },
  { spec: 'netstring', telling: 1 },
  { spec: 'octet-counting', telling: 1 },
  { spec: 'giop', telling: 1 },
  { spec: 'tpkt', telling: 0.95 },
  { spec: 'postgres', telling: 0.9 },
  { spec: 'grpc', telling: 0.9 },
  { spec: 'u32be', telling: 0.9 },
  { spec: 'u32le', telling: 0.9 },
  { spec: 'fcgi', telling: 0.85 },
  { spec: 'u16be', telling: 0.8 },
  { spec: 'u16le', telling: 0.8 },
  { spec: 'u64be', telling: 0.8 },
  { spec: 'u64le', telling: 0.8 },
  { spec: 'crlf', telling: 0.8 },
  { spec: 'lines', telling: 0.75 },
  { spec: 'asn1-ber', telling: 0.7 },
  { spec: 'varint', telling: 0.6 },
  { spec: 'delim:00', telling: 0.6 },
  { spec: 'slip', telling: 0.6 },
  { spec: 'cobs', telling: 0.55 },
  { spec: 'u8', telling: 0.55 },
  { spec: 'oncrpc', telling: 0.5 }, // u32be, unless the top bit is set
];

/** The least score of a framing whose protocol is recognized by its first bytes, wherever its reads end. */
const RECOGNIZED = 0.96;
/** Its score while the continuation of the stream is still unclear: not enough to settle on it. */
const UNDECIDED_YET = 0.6;

/** Bytes of each direction that a guess examines. */
export const GUESS_BYTES = 16 * 1024;

/**
 * Likely framings of a stream, the best first. A framing fits when it parses the bytes without an error, when messages
 * end where reads end (senders mostly write whole messages), and when the messages are plausible: no endless empty
 * messages, no binary data in lines. Protocols recognized by their first bytes (TLS, PostgreSQL, AMQP, HTTP/2) come
 * first.
 *
 * @param reads the first reads of one direction, in order; the first 16 KiB count
 */
export function guessFraming(reads: readonly Uint8Array[]): Guess[] {
  const guesses: Guess[] = [];
  const known = recognize(Buffer.concat(reads.map((read) => read.subarray(0, GUESS_BYTES))).subarray(0, GUESS_BYTES));
  if (known) {
    const { framing, protocol } = known;
    const fit = measure(framing, reads, true);
    const score = known.undecided ? UNDECIDED_YET : Math.max(fit?.score ?? 0, RECOGNIZED);
    if (fit) guesses.push({ framing, protocol, score: round(score), messages: fit.messages });
  }
  for (const { spec, telling } of CANDIDATES) {
    const fit = spec === known?.framing ? undefined : measure(spec, reads);
    if (fit && fit.score > 0)
      guesses.push({ framing: spec, score: round(fit.score * telling), messages: fit.messages });
  }
  return guesses.sort((left, right) => right.score - left.score);
}

/** How well one framing fits, 0 to 1. */
export function scoreFraming(spec: string, reads: readonly Uint8Array[]): number {
  return measure(spec, reads)?.score ?? 0;
}

/** @param begun whether the beginning of a message is enough */
function measure(
  spec: string,
  reads: readonly Uint8Array[],
  begun = false,
): { score: number; messages: number } | undefined {
  const tap = new Tap(spec);
  let seen = 0;
  let messages = 0;
  let empty = 0;
  let payload = 0;
  let text = 0;
  let endings = 0;
  let aligned = 0;
  let unfinished = false;
  for (const chunk of reads) {
    if (seen >= GUESS_BYTES) break;
    const bytes = chunk.subarray(0, GUESS_BYTES - seen);
    seen += bytes.length;
    const read = tap.read(bytes);
    if (read.error) return undefined;
    messages += read.messages.length;
    for (const message of read.messages) {
      payload += message.payload.length;
      if (message.payload.length === 0) empty++;
      text += printableBytes(message.payload);
    }
    unfinished = read.partial !== undefined;
    if (bytes.length === chunk.length) {
      endings++;
      if (!unfinished) aligned++;
    }
  }
  if (messages === 0) return begun ? { score: 0, messages } : undefined;
  const alignment = endings === 0 ? 0.5 : aligned / endings;
  const emptiness = empty / messages;
  const lineLike = spec === 'lines' || spec === 'crlf';
  const plausible = lineLike ? (payload === 0 ? 0 : text / payload) ** 4 : 1 - 0.7 * emptiness;
  const enough = Math.min(1, 0.7 + messages * 0.1);
  return { score: (0.25 + 0.75 * alignment) * plausible * enough, messages };
}

function printableBytes(bytes: Uint8Array): number {
  let count = 0;
  for (const byte of bytes) if (byte >= 0x20 || byte === 0x09) count++;
  return count;
}

function round(score: number): number {
  return Math.round(score * 1000) / 1000;
}
