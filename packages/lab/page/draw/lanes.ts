/** The bytes of one stream in four lanes. A block stands over the bytes it holds. */
import { el } from '../dom.js';
import { captured, cells, content, lengthOf, milliseconds, saying } from './spans.js';
import type { Lane, Span, TraceData } from './spans.js';
import { t } from '../words.js';

/** A block shows its time below only if the next one begins at least this part of the width further on. */
const LABEL_ROOM = 0.085;
/** Above so many bytes of the stream, blocks show no letters. */
const LETTERS_UP_TO = 96;

/** Draws the lanes; `drawn` gets each block. */
export function lanes(trace: TraceData, label: string, drawn: (lane: Lane, span: Span, block: Element) => void) {
  const total = lengthOf(trace);
  const { segments } = trace;
  return el(
    'div',
    { class: 'lanes', role: 'img', 'aria-label': label, style: { '--total': total } },
    lane('writes', trace.writes, t('laneWrites')),
    segments === undefined
      ? undefined
      : segments.source === 'capture'
        ? lane('segments', captured(trace), t('laneSegments'))
        : noLane(
            segments.source === 'kernel counters'
              ? t('counted', { n: segments.count })
              : t('notSeen', { reason: segments.reason }),
          ),
    lane('reads', trace.reads, t('laneReads')),
    lane('messages', trace.messages, t('laneMessages')),
  );

  function lane(name: Lane, spans: readonly Span[], explanation: string) {
    const track = el('div', { class: 'track' });
    const starts = [...new Set(spans.map((span) => span.offset))].sort((left, right) => left - right);
    // Overlapping blocks (a retransmitted segment) stand below.
    const ends: number[] = [];
    for (const span of spans) {
      let level = ends.findIndex((end) => end <= span.offset);
      if (level === -1) level = ends.length;
      ends[level] = span.offset + Math.max(span.length, total / 200);
      const block = el(
        'div',
        {
          class: `block ${span.length === 0 ? 'empty' : ''}`,
          style: { '--from': span.offset / total, '--width': span.length / total, '--level': level },
          title: `${saying(name, span)}: ${content(span)}`,
        },
        ...cells(span, trace.writes, { letters: total <= LETTERS_UP_TO }),
        hasRoom(span, starts) ? el('span', { class: 'when' }, milliseconds(span.atMs)) : undefined,
      );
      track.append(block);
      drawn(name, span, block);
    }
    track.style.setProperty('--levels', String(Math.max(1, Math.min(ends.length, 6))));
    return el(
      'div',
      { class: 'lane' },
      el(
        'div',
        { class: 'lane-name' },
        el('strong', {}, t(name === 'messages' ? 'messagesLane' : name)),
        el('span', {}, explanation),
      ),
      spans.length === 0 ? el('div', { class: 'track none' }, t('nothing')) : track,
    );
  }

  function hasRoom(span: Span, starts: number[]) {
    const next = starts.find((start) => start > span.offset) ?? total;
    return next - span.offset >= LABEL_ROOM * total || (span.offset === 0 && starts.length === 1);
  }
}

/** A lane that this machine could not observe. */
function noLane(explanation: string) {
  return el(
    'div',
    { class: 'lane' },
    el('div', { class: 'lane-name' }, el('strong', {}, t('segments'))),
    el('div', { class: 'track none' }, explanation),
  );
}
