/**
 * The ladder of a stream, or of both streams of a dialogue: sender, wire and receiver as columns, time downwards and to
 * scale, an arrow for each segment. Bytes have the colour of their send. A bar on a column says how long bytes waited
 * there: in the sender's system until a segment took them, in the receiver's until a read did.
 */
import {
  crossings,
  departureOf,
  firstReadOf,
  lastReadOf,
  longestWaits,
  messagesOf,
  type Crossing,
} from './crossings.js';
import { el, svg } from './dom.js';
import { captured, cells, content, milliseconds, saying } from './spans.js';
import type { Lane, Span, TraceData } from './spans.js';
import { timeScale } from './time-scale.js';
import { t } from './words.js';

/** More events are in the other view and in the table. */
const MOST_EVENTS = 80;
/** Heights of labels at a column, on the wire, of an acknowledgement, and between two of them. */
const RUNG = 26;
const CARGO = 22;
const SMALL = 18;
const BETWEEN = 4;
/** Where the row of titles ends. */
const TOP = 44;
/** Longer spans show no letters. */
const LETTERS_UP_TO = 24;
/** A shorter wait is not worth a sentence. */
const NOTABLE_MS = 1;
/** Colours between those of the two directions. */
const SHIFT = 4;

/** Labels of one column, none above another. */
class Stack {
  bottom = -Infinity;

  place(y: number, height: number): number {
    const top = Math.max(y - height / 2, this.bottom + BETWEEN);
    this.bottom = top + height;
    return top;
  }
}

/** A column, where it is in the width, where its labels are, and where arrows to and from it have their cargo. In percent. */
interface Side {
  readonly x: number;
  readonly cargo: number;
  /** -1: labels stand to the left. */
  readonly outwards: -1 | 1;
  readonly stack: Stack;
}

/** Something to draw, from top to bottom. */
interface Drawing {
  readonly atMs: number;
  readonly draw: () => void;
}

type Drawn = (lane: Lane, span: Span, part: Element) => void;
type Acknowledgement = Extract<TraceData['segments'], { source: 'capture' }>['acknowledgements'][number];

const acknowledgementsOf = ({ segments }: TraceData): readonly Acknowledgement[] =>
  segments?.source === 'capture' ? segments.acknowledgements : [];

/** Draws the ladder; `drawn` gets each part with the event that it shows. `back`: the stream in the other direction. */
export function ladder(trace: TraceData, back: TraceData | undefined, label: string, drawn: Drawn) {
  const left: Side = { x: 37, cargo: 43, outwards: -1, stack: new Stack() };
  const right: Side = { x: 67, cargo: 61, outwards: 1, stack: new Stack() };
  const wire = new Stack();
  const both = back ? [trace, back] : [trace];
  const times = both
    .flatMap((each) => [...each.writes, ...each.reads, ...captured(each), ...acknowledgementsOf(each)])
    .map(({ atMs }) => atMs)
    .toSorted((a, b) => a - b);
  const until = times[MOST_EVENTS - 1] ?? Infinity;
  const shownTimes = times.filter((atMs) => atMs <= until);
  const scale = timeScale(shownTimes);
  const y = (ms: number): number => TOP + RUNG / 2 + scale.at(ms);

  const head = arrowHead();
  const lines = svg('svg', { class: 'ladder-lines', 'aria-hidden': 'true' }, head.defs);
  const picture = el('div', { class: 'ladder', role: 'img', 'aria-label': label });
  for (const each of scale.breaks) picture.append(breakOf(each.toMs - each.fromMs, y(each.fromMs)));
  const drawings = [...directionOf(trace, left, right, 0), ...(back ? directionOf(back, right, left, SHIFT) : [])];
  for (const { draw } of drawings.filter(({ atMs }) => atMs <= until).toSorted((a, b) => a.atMs - b.atMs)) draw();
  drawTimes();

  const bottom =
    Math.ceil(Math.max(y(shownTimes.at(-1) ?? 0), left.stack.bottom, wire.bottom, right.stack.bottom)) + 12;
  picture.style.height = `${bottom}px`;
  lines.prepend(line(left.x, TOP, left.x, bottom, 'column'), line(right.x, TOP, right.x, bottom, 'column'));
  const isSeen = both.some((each) => each.segments?.source === 'capture');
  picture.prepend(
    lines,
    title(t(back ? 'server' : 'sender'), left.x),
    title(t(isSeen ? 'wire' : 'wireUnseen'), (left.x + right.x) / 2),
    title(t(back ? 'client' : 'receiver'), right.x),
  );
  return el('div', { class: 'ladder-view' }, picture, ...notes());

  /** What one stream draws, from its sender's side to its receiver's. */
  function directionOf(stream: TraceData, from: Side, to: Side, shift: number): Drawing[] {
    const all = crossings(stream);
    const part = (lane: Lane, span: Span, ...elements: (Element | undefined)[]): void => {
      for (const element of elements) {
        if (!element) continue;
        element.classList.add('part');
        drawn(lane, span, element);
        (element instanceof SVGElement ? lines : picture).append(element);
      }
    };
    const bytesOf = (span: Span) => cells(span, stream.writes, { letters: span.length <= LETTERS_UP_TO, shift });

    function rung(lane: Lane, span: Span, { x, outwards }: Side, top: number, inset = 2) {
      const place = outwards < 0 ? { right: `${100 - x + inset}%` } : { left: `${x + inset}%` };
      return el(
        'div',
        {
          class: `rung ${lane} ${outwards < 0 ? 'leftwards' : ''}`,
          style: { top: `${top}px`, ...place },
          title: `${saying(lane, span)}: ${content(span)}`,
        },
        el('span', { class: 'rung-cells' }, ...bytesOf(span)),
        el('span', { class: 'rung-size' }, `${span.length} B`),
      );
    }
    function onColumn(lane: Lane, span: Span, side: Side, ...more: (Element | undefined)[]): void {
      const at = y(span.atMs);
      const top = side.stack.place(at, RUNG);
      const leader = line(side.x, at, side.x + 2 * side.outwards, top + RUNG / 2, 'leader');
      part(lane, span, leader, ...more, rung(lane, span, side, top));
    }
    function write(span: Span): void {
      const gone = departureOf(span, all);
      onColumn('writes', span, from, gone && waitBar(from.x, y(span.atMs), y(gone.atMs)));
    }
    function read(span: Span): void {
      onColumn('reads', span, to);
      for (const message of messagesOf(span, stream))
        part('messages', message, rung('messages', message, to, to.stack.place(y(span.atMs), RUNG), 5));
    }
    function cross({ span, isSeen: isCaptured, isAgain }: Crossing): void {
      const at = y(span.atMs);
      const middle = wire.place(at + 3, CARGO) + CARGO / 2;
      const kind = `arrow ${isCaptured ? '' : 'unseen'} ${isAgain ? 'again' : ''}`;
      const arrival = isCaptured ? 0 : y(firstReadOf(span, stream.reads)?.atMs ?? span.atMs);
      const taken = isCaptured ? lastReadOf(span, stream.reads) : undefined;
      part(
        'segments',
        span,
        line(from.x, at, from.cargo, middle, kind),
        line(to.cargo, middle, to.x, Math.max(arrival, at + 6), kind, head.url),
        taken && waitBar(to.x, at + 6, y(taken.atMs)),
        el(
          'div',
          {
            class: `cargo ${isAgain ? 'again' : ''}`,
            style: { ...acrossWire, top: `${middle - CARGO / 2}px` },
            title: `${saying('segments', span)}${isAgain ? `, ${t('again')}` : ''}: ${content(span)}`,
          },
          ...bytesOf(span),
        ),
      );
    }
    function acknowledge({ atMs, offset }: Acknowledgement): void {
      const at = y(atMs);
      const middle = wire.place(at + 3, SMALL) + SMALL / 2;
      lines.append(
        line(to.x, at, to.cargo, middle, 'acknowledgement'),
        line(from.cargo, middle, from.x, Math.max(at + 6, middle), 'acknowledgement', head.url),
      );
      const words = `${t('acknowledged', { n: offset })}, ${milliseconds(atMs)}`;
      const style = { ...acrossWire, top: `${middle - SMALL / 2}px` };
      picture.append(el('div', { class: 'acknowledged', style, title: words }, t('ack', { n: offset })));
    }
    return [
      ...stream.writes.map((span) => ({ atMs: span.atMs, draw: () => write(span) })),
      ...all.map((each) => ({ atMs: each.span.atMs, draw: () => cross(each) })),
      ...acknowledgementsOf(stream).map((each) => ({ atMs: each.atMs, draw: () => acknowledge(each) })),
      ...stream.reads.map((span) => ({ atMs: span.atMs, draw: () => read(span) })),
    ];
  }

  function drawTimes(): void {
    const axis = new Stack();
    for (const atMs of new Set(shownTimes)) {
      if (axis.bottom + BETWEEN > y(atMs) - SMALL / 2) continue;
      const style = { top: `${axis.place(y(atMs), SMALL)}px` };
      picture.append(el('span', { class: 'ladder-time', style }, milliseconds(atMs)));
    }
  }

  function notes() {
    const { held, kept } = longestWaits(trace);
    return [
      held >= NOTABLE_MS ? t('heldFor', { ms: milliseconds(held) }) : undefined,
      kept >= NOTABLE_MS ? t('keptFor', { ms: milliseconds(kept) }) : undefined,
      times.length > shownTimes.length ? t('firstEvents', { n: shownTimes.length }) : undefined,
    ].map((each) => (each === undefined ? undefined : el('p', { class: 'ladder-note' }, each)));
  }
}

const acrossWire = { left: '43%', width: '18%' };

const title = (text: string, x: number) =>
  el('div', { class: 'ladder-head', style: { left: `${x - 14}%`, width: '28%' } }, text);

const line = (x1: number, y1: number, x2: number, y2: number, kind: string, head?: string) =>
  svg('line', { x1: `${x1}%`, y1, x2: `${x2}%`, y2, class: kind, ...(head && { 'marker-end': head }) });

/** Nothing for a wait that cannot be seen. */
const waitBar = (x: number, from: number, to: number) => (to - from < 3 ? undefined : line(x, from, x, to, 'wait'));

const breakOf = (ms: number, top: number) =>
  el(
    'div',
    { class: 'ladder-break', style: { top: `${top + 16}px` } },
    el('span', {}, t('pauseOf', { ms: milliseconds(ms) })),
  );

let heads = 0;
/** An arrow's head is found by an id of the whole document. */
function arrowHead() {
  heads += 1;
  const id = `arrow-head-${heads}`;
  const shape = { id, viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, orient: 'auto' };
  return {
    defs: svg('defs', {}, svg('marker', shape, svg('path', { d: 'M0 0L8 4L0 8z', class: 'arrow-head' }))),
    url: `url(#${id})`,
  };
}
