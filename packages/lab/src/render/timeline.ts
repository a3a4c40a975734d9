/** The timeline of a trace as lines for a terminal. */
import { ascii } from './hexdump.js';
import { padEnd, width } from './width.js';
import type { Lang, Text } from '../lang.js';
import { text } from '../lang.js';
import type { Span, Trace } from '../wire/trace.js';

const words = {
  writes: text('writes', '写入'),
  segments: text('segments', '报文段'),
  reads: text('reads', '读取'),
  messages: text('messages', '消息'),
  captured: text('seen by a capture', '由抓包看到'),
  counted: text('counted by the kernel (a socket cannot see them)', '由内核计数（套接字看不到报文段）'),
  notSeen: text('not seen', '看不到'),
  none: text('none', '无'),
} satisfies Record<string, Text>;

/** Above this many bytes, the picture shows scaled bars instead of one column for each byte. */
const BYTE_COLUMNS = 60;

/**
 * The story of one connection as text: each write, segment, read and message stands below the bytes it holds, so a read
 * that joins three writes is as wide as all three.
 *
 * @param most lines of one kind; if there are more, the middle ones are omitted
 */
export function timeline(trace: Trace, lang: Lang, most = 9): string[] {
  const { segments } = trace;
  const total = Math.max(
    ...[...trace.writes, ...trace.reads, ...trace.messages].map((span) => span.offset + span.length),
    1,
  );
  const rows: string[] = [];
  const labels =
    Math.max(
      ...Object.values(words)
        .slice(0, 4)
        .map((word) => width(word[lang])),
    ) + 2;
  const lane = (label: string, spans: readonly Span[], note = '') => {
    if (spans.length === 0) rows.push(`${padEnd(label, labels)}${note || words.none[lang]}`);
    spans.forEach((span, index) => {
      const left = spans.length - most;
      if (left > 0 && index === most - 2)
        rows.push(`${' '.repeat(labels)}${'…'.padStart(9)}     ${more(left + 1, lang)}`);
      if (left > 0 && index >= most - 2 && index < spans.length - 1) return;
      const time = `${span.atMs.toFixed(2)} ms`.padStart(12);
      rows.push(`${padEnd(index === 0 ? label : '', labels)}${time}  ${picture(span, total)}`.trimEnd());
    });
  };
  lane(words.writes[lang], trace.writes);
  if (segments?.source === 'capture') {
    lane(words.segments[lang], segments.spans);
    rows.push(`${' '.repeat(labels)}${words.captured[lang]}`);
  } else if (segments) {
    const note =
      segments.source === 'kernel counters'
        ? `${segments.count}, ${words.counted[lang]}`
        : `${words.notSeen[lang]}: ${segments.reason}`;
    rows.push(`${padEnd(words.segments[lang], labels)}${note}`);
  }
  lane(words.reads[lang], trace.reads);
  lane(words.messages[lang], trace.messages);
  return rows;
}

function more(count: number, lang: Lang): string {
  return lang === 'en' ? `${count} more` : `还有 ${count} 条`;
}

function picture(span: Span, total: number): string {
  if (total <= BYTE_COLUMNS) {
    return `${' '.repeat(span.offset)}${span.length === 0 ? '∅' : ascii(span.bytes)}  ${' '.repeat(total - span.offset - span.length)}${span.length} B`;
  }
  const scale = BYTE_COLUMNS / total;
  const from = Math.min(BYTE_COLUMNS - 1, Math.floor(span.offset * scale));
  const length = Math.max(1, Math.round(span.length * scale));
  return `${' '.repeat(from)}${span.length === 0 ? '∅' : '█'.repeat(length)}${' '.repeat(Math.max(0, BYTE_COLUMNS - from - length))}  ${span.length} B`;
}
