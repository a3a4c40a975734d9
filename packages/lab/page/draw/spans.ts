/** What is shown of the bytes of a write, segment, read or message: their colours, letters and words. */
import type { Answer } from '../../dist/page/protocol.js';
import { el } from '../dom.js';
import { t, type Word } from '../words.js';

export type TraceData = Pick<Answer<'experiment'>, 'writes' | 'segments' | 'reads' | 'messages'>;
export type Span = TraceData['writes'][number];
export type Lane = keyof TraceData;

const COLOURS = 8;

export const EVENT_WORDS: Record<Lane, Word> = {
  writes: 'eventWrite',
  segments: 'eventSegment',
  reads: 'eventRead',
  messages: 'eventMessage',
};

/** The segments that a capture saw. */
export const captured = ({ segments }: TraceData): readonly Span[] =>
  segments?.source === 'capture' ? segments.spans : [];

/** Bytes that a trace covers. */
export const lengthOf = (trace: TraceData): number =>
  Math.max(
    1,
    ...[...trace.writes, ...trace.reads, ...trace.messages, ...captured(trace)].map(
      (span) => span.offset + span.length,
    ),
  );

/** A span in words. */
export const saying = (lane: Lane, span: Span): string =>
  `${t(EVENT_WORDS[lane], { n: span.length })}, ${milliseconds(span.atMs)}`;

/** A time, as exact as it helps. */
export const milliseconds = (ms: number): string => `${ms.toFixed(ms < 100 ? 2 : 1)} ms`;

export interface CellStyle {
  readonly letters: boolean;
  /** Without letters, the first part says how many bytes there are. */
  readonly size?: boolean;
  /** Colours that another stream in the same picture has. */
  readonly shift?: number;
}

/** The bytes of a block, coloured by their send. */
export function cells(
  span: Span,
  writes: readonly Span[],
  { letters: hasLetters, size = false, shift = 0 }: CellStyle,
) {
  const parts: HTMLElement[] = [];
  let at = span.offset;
  const end = span.offset + span.length;
  const letters = hasLetters ? characters(span) : undefined;
  for (const [index, write] of writes.entries()) {
    const from = Math.max(at, write.offset);
    const to = Math.min(end, write.offset + write.length);
    if (to <= from) continue;
    const sizeHere: string = size && parts.length === 0 ? `${span.length} B` : '';
    const text: string = letters?.slice(from - span.offset, to - span.offset).join('') ?? sizeHere;
    parts.push(el('span', { class: `cell c${(index + shift) % COLOURS}`, style: { 'flex-grow': to - from } }, text));
    at = to;
  }
  if (span.length > 0 && parts.length === 0)
    parts.push(
      el(
        'span',
        { class: `cell c${shift}`, style: { 'flex-grow': 1 } },
        letters?.join('') ?? (size ? `${span.length} B` : ''),
      ),
    );
  if (span.length === 0) parts.push(el('span', { class: 'cell void' }, '∅'));
  return parts;
}

const characters = (span: Span): string[] => Array.from(bytesOf(span), visible);

/** The bytes that a message carried; a long piece's are its first ones. */
export const bytesOf = ({ text, hex }: Pick<Span, 'text' | 'hex'>): Uint8Array =>
  hex === undefined
    ? new TextEncoder().encode(text ?? '')
    : Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));

/** A letter for a byte; a dot replaces anything but printable ASCII. */
export const visible = (byte: number): string =>
  byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : byte === 0x20 ? '\u00a0' : '·';

export function content(span: Pick<Span, 'length' | 'text' | 'hex'>) {
  const shown = span.text ?? span.hex ?? '';
  const plain = span.text === undefined ? `0x${shown}` : JSON.stringify(shown);
  if (span.length === 0) return t('emptyMessage');
  return plain.length > 80 ? `${plain.slice(0, 80)}…` : plain;
}
