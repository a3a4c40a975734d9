/**
 * The animated timeline: four lanes over the bytes of one stream. A block stands over the bytes it holds, coloured by
 * their send, so glued sends show as colours that share a block, and split ones as colours torn apart.
 */
import type { Answer } from '../dist/page/protocol.js';
import { el } from './dom.js';
import { t, type Word } from './words.js';

type TraceData = Pick<Answer<'experiment'>, 'writes' | 'segments' | 'reads' | 'messages'>;
type Span = TraceData['writes'][number];
type Lane = keyof TraceData;

/** One event of the story. */
interface Step {
  lane: Lane;
  span: Span;
  block: HTMLElement;
  row: HTMLElement | undefined;
}

const STEP_MS = 450;
const COLOURS = 8;
/** Longer blocks show no letters. */
const LETTERS_UP_TO = 96;
/** A block shows its time below only if the next one begins at least this part of the width further on. */
const LABEL_ROOM = 0.085;
const MOST_ROWS = 200;

export function timeline(trace: TraceData, { play = true }: { play?: boolean } = {}) {
  const captured = trace.segments?.source === 'capture' ? (trace.segments.spans ?? []) : [];
  const total = Math.max(
    1,
    ...[...trace.writes, ...trace.reads, ...trace.messages, ...captured].map((span) => span.offset + span.length),
  );
  const steps: Step[] = [];

  const lanes = [
    lane('writes', trace.writes, t('laneWrites')),
    trace.segments === undefined
      ? undefined
      : trace.segments.source === 'capture'
        ? lane('segments', captured, t('laneSegments'))
        : noLane(
            'segments',
            trace.segments.source === 'kernel counters'
              ? t('counted', { n: trace.segments.count })
              : t('notSeen', { reason: trace.segments.reason }),
          ),
    lane('reads', trace.reads, t('laneReads')),
    lane('messages', trace.messages, t('laneMessages')),
  ];
  steps.sort((left, right) => left.span.atMs - right.span.atMs);

  // ---- the same as a table, for readers who cannot see the picture
  const body = el('tbody');
  for (const step of steps.slice(0, MOST_ROWS)) {
    step.row = el(
      'tr',
      {},
      el('td', { class: 'number' }, `${step.span.atMs.toFixed(2)} ms`),
      el('td', {}, t(step.lane === 'messages' ? 'messagesLane' : step.lane)),
      el('td', { class: 'number' }, String(step.span.length)),
      el('td', { class: 'code' }, content(step.span)),
    );
    body.append(step.row);
  }
  const table = el(
    'details',
    { class: 'as-table' },
    el('summary', {}, t('asTable')),
    el(
      'div',
      { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('asTable') },
      el(
        'table',
        {},
        el(
          'thead',
          {},
          el(
            'tr',
            {},
            ...(['columnTime', 'columnWhat', 'columnBytes', 'columnContent'] as const).map((name) =>
              el('th', { scope: 'col' }, t(name)),
            ),
          ),
        ),
        body,
      ),
    ),
  );

  // ---- playing
  let position = steps.length;
  let timer: ReturnType<typeof setInterval> | undefined;
  const playButton = el(
    'button',
    { type: 'button', class: 'small', onclick: () => (timer ? pause() : start()) },
    t('play'),
  );
  const slider = el('input', {
    type: 'range',
    min: '0',
    max: String(steps.length),
    value: String(steps.length),
    'aria-label': t('position'),
    oninput: () => (pause(), go(Number(slider.value))),
  });
  const says = el('output', { class: 'says' });

  function go(to: number) {
    position = Math.max(0, Math.min(steps.length, to));
    steps.forEach((step, index) => {
      step.block.classList.toggle('shown', index < position);
      step.block.classList.toggle('now', index === position - 1 && position < steps.length);
      step.row?.classList.toggle('now', index === position - 1 && position < steps.length);
    });
    slider.value = String(position);
    const step = steps[position - 1];
    const what = step
      ? `${t(EVENT_WORDS[step.lane], { n: step.span.length })}, ${step.span.atMs.toFixed(2)} ms`
      : t('begin');
    says.textContent = t('eventOf', { n: position, all: steps.length, what });
    slider.setAttribute('aria-valuetext', says.textContent);
  }
  function start() {
    if (position >= steps.length) go(0);
    // Even a long story takes at most six seconds.
    const every = Math.min(STEP_MS, 6000 / Math.max(1, steps.length));
    timer = setInterval(() => {
      go(position + 1);
      if (position >= steps.length) pause();
    }, every);
    playButton.textContent = t('pause');
  }
  function pause() {
    clearInterval(timer);
    timer = undefined;
    playButton.textContent = t('play');
  }

  const controls = el(
    'div',
    { class: 'player' },
    el(
      'button',
      {
        type: 'button',
        class: 'small',
        'aria-label': t('previous'),
        title: t('previous'),
        onclick: () => (pause(), go(position - 1)),
      },
      '◀',
    ),
    playButton,
    el(
      'button',
      {
        type: 'button',
        class: 'small',
        'aria-label': t('next'),
        title: t('next'),
        onclick: () => (pause(), go(position + 1)),
      },
      '▶',
    ),
    slider,
    says,
  );
  const summary = t('summary', { w: trace.writes.length, r: trace.reads.length, m: trace.messages.length });
  const picture = el(
    'div',
    { class: 'lanes', role: 'img', 'aria-label': t('summaryLane', { text: summary }), style: { '--total': total } },
    ...lanes,
  );
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  const element = el('div', { class: 'timeline' }, picture, controls, table);
  go(steps.length);
  if (play && !still && steps.length > 1) {
    go(0);
    start();
  }
  return { element, stop: pause };

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
          title: `${t(EVENT_WORDS[name], { n: span.length })}, ${span.atMs.toFixed(2)} ms: ${content(span)}`,
        },
        ...cells(span, trace.writes, total),
        hasRoom(span, starts) ? el('span', { class: 'when' }, `${span.atMs.toFixed(2)} ms`) : undefined,
      );
      track.append(block);
      steps.push({ lane: name, span, block, row: undefined });
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

/** A lane this machine could not observe. */
function noLane(name: 'segments', explanation: string) {
  return el(
    'div',
    { class: 'lane' },
    el('div', { class: 'lane-name' }, el('strong', {}, t(name))),
    el('div', { class: 'track none' }, explanation),
  );
}

const EVENT_WORDS: Record<Lane, Word> = {
  writes: 'eventWrite',
  segments: 'eventSegment',
  reads: 'eventRead',
  messages: 'eventMessage',
};

/** The bytes of a block, coloured by their send. */
function cells(span: Span, writes: readonly Span[], total: number) {
  const parts = [];
  let at = span.offset;
  const end = span.offset + span.length;
  const letters = total <= LETTERS_UP_TO ? characters(span) : undefined;
  for (const [index, write] of writes.entries()) {
    const from = Math.max(at, write.offset);
    const to = Math.min(end, write.offset + write.length);
    if (to <= from) continue;
    const text = letters?.slice(from - span.offset, to - span.offset).join('');
    parts.push(el('span', { class: `cell c${index % COLOURS}`, style: { 'flex-grow': to - from } }, text ?? ''));
    at = to;
  }
  if (span.length > 0 && parts.length === 0)
    parts.push(el('span', { class: 'cell c0', style: { 'flex-grow': 1 } }, letters?.join('') ?? ''));
  if (span.length === 0) parts.push(el('span', { class: 'cell void' }, '∅'));
  return parts;
}

/** One letter for each byte; a dot replaces anything but printable ASCII. */
function characters(span: Span) {
  const bytes =
    span.hex === undefined
      ? new TextEncoder().encode(span.text ?? '')
      : Uint8Array.from(span.hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  return [...bytes].map((byte) =>
    byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : byte === 0x20 ? '\u00a0' : '·',
  );
}

export function content(span: Pick<Span, 'length' | 'text' | 'hex'>) {
  const shown = span.text ?? span.hex ?? '';
  const plain = span.text === undefined ? `0x${shown}` : JSON.stringify(shown);
  if (span.length === 0) return t('emptyMessage');
  return plain.length > 80 ? `${plain.slice(0, 80)}…` : plain;
}
