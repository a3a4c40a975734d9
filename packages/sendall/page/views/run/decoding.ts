/** A row's bytes as text in an encoding, cut into spans: streams, characters that are shown instead of obeyed, matches. */
import { partsOf } from '../../parts/printable.js';
import type { Newline, Piece, Stream } from './output-buffer.js';

/** What the browser decodes, in the order of the list. */
export const ENCODINGS = [
  'utf-8',
  'gb18030',
  'gbk',
  'big5',
  'shift_jis',
  'euc-jp',
  'euc-kr',
  'windows-1252',
  'iso-8859-2',
  'windows-1251',
  'koi8-r',
  'utf-16le',
  'utf-16be',
] as const;
export type Encoding = (typeof ENCODINGS)[number];

export const newlineOf = (encoding: Encoding): Newline =>
  encoding === 'utf-16le' || encoding === 'utf-16be' ? encoding : 'byte';

export interface Span {
  readonly text: string;
  /** `note`: of the page itself. `code`: an escape sequence. `hidden`: another character that is shown. */
  readonly kind: Stream | 'note' | 'hidden' | 'code';
  readonly isMatch?: boolean;
}

/** Sequences that set colours or move a cursor (ECMA-48): CSI, OSC up to its end, and two-character ones. */
// eslint-disable-next-line no-control-regex
const SEQUENCE = /(\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[ -/]*[0-~]))/;

/** The text of a row by stream, without its line end. */
export function textOf(parts: readonly Piece[], encoding: Encoding): { kind: Stream | 'note'; text: string }[] {
  const decoders = new Map<Stream, InstanceType<typeof TextDecoder>>();
  const texts: { kind: Stream | 'note'; text: string }[] = [];
  for (const { stream, bytes } of parts) {
    if (stream === undefined) {
      texts.push({ kind: 'note', text: new TextDecoder().decode(bytes) });
      continue;
    }
    let decoder = decoders.get(stream);
    if (!decoder) decoders.set(stream, (decoder = new TextDecoder(encoding, { ignoreBOM: true })));
    const text = decoder.decode(bytes, { stream: true });
    const last = texts.at(-1);
    if (last?.kind === stream) last.text += text;
    else texts.push({ kind: stream, text });
  }
  // What is left of a character that was cut.
  for (const [stream, decoder] of decoders) {
    const rest = decoder.decode();
    if (rest !== '') texts.push({ kind: stream, text: rest });
  }
  const last = texts.at(-1);
  if (last) last.text = last.text.replace(/\r?\n$/, '');
  return texts;
}

/** The spans of a row. `withCodes`: escape sequences are shown; else they are left out. */
export function spansOf(
  parts: readonly Piece[],
  encoding: Encoding,
  withCodes: boolean,
  search: string,
): readonly Span[] {
  const spans: Span[] = [];
  for (const { kind, text } of textOf(parts, encoding)) {
    for (const [i, run] of text.split(SEQUENCE).entries()) {
      if (run === '') continue;
      if (i % 2 && kind !== 'note') {
        if (withCodes) spans.push({ kind: 'code', text: partsOf(run).join('') });
      } else addText(spans, kind, run, search);
    }
  }
  return spans;
}

/** Plain text: hidden characters shown (but tabs, which are blanks), and matches marked. */
function addText(spans: Span[], kind: Stream | 'note', text: string, search: string): void {
  for (const line of text.split(/(\t)/)) {
    if (line === '\t') spans.push({ kind, text: '\t' });
    else
      for (const [i, part] of partsOf(line).entries())
        if (part !== '') {
          if (i % 2) spans.push({ kind: 'hidden', text: part });
          else addMatches(spans, kind, part, search);
        }
  }
}

function addMatches(spans: Span[], kind: Stream | 'note', text: string, search: string): void {
  if (search === '') {
    spans.push({ kind, text });
    return;
  }
  const lower = text.toLowerCase();
  let at = 0;
  // Lower case may be of another length; then nothing is marked rather than the wrong place.
  const isSound = lower.length === text.length;
  for (let found = isSound ? lower.indexOf(search) : -1; found >= 0; found = lower.indexOf(search, at)) {
    if (found > at) spans.push({ kind, text: text.slice(at, found) });
    at = found + search.length;
    spans.push({ kind, text: text.slice(found, at), isMatch: true });
  }
  if (at < text.length) spans.push({ kind, text: text.slice(at) });
}

/** Whether the row holds the text, which is in lower case. */
export const holds = (parts: readonly Piece[], encoding: Encoding, search: string): boolean =>
  textOf(parts, encoding).some(({ text }) => text.toLowerCase().includes(search));
