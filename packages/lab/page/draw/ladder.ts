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
import { el, svg } from '../dom.js';
import { captured, cells, content, milliseconds, saying } from './spans.js';
import type { Lane, Span, TraceData } from './spans.js';
import { commonPerMs, timeScale, type Break, type Place } from './time-scale.js';
import { t } from '../words.js';

/** More events are in the other view and in the table. */
const MOST_EVENTS = 48;
/** Pixels that all waits of a picture may take together: on its own, and beside others. */
const TALLEST = 900;
const TALLEST_OF_SEVERAL = 420;
/** Heights of labels at a column, on the wire, of an acknowledgement, and between two of them. */
const RUNG = 26;
const CARGO = 22;
const SMALL = 18;
const BETWEEN = 4;
/** Height of the band that stands for a long wait. */
const BAND = 28;
/** Where the row of titles ends. */
const TOP = 44;
/** Longer spans show their size instead of letters. */
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

/** A stream to draw. */
export interface Stream {
  readonly trace: TraceData;
  /** The stream in the other direction of a dialogue. */
  readonly back?: TraceData | undefined;
}

/** How ladders are drawn that stand side by side. */
export interface LadderScale {
  readonly most: number;
  readonly perMs?: number | undefined;
}

/** The times of a stream's events, in order. */
function timesOf({ trace, back }: Stream): number[] {
  return (back ? [trace, back] : [trace])
    .flatMap((each) => [...each.writes, ...each.reads, ...captured(each), ...acknowledgementsOf(each)])
    .map(({ atMs }) => atMs)
    .toSorted((a, b) => a - b);
}

const eventsOf = ({ writes, reads, messages, ...rest }: TraceData): number =>
  writes.length + reads.length + messages.length + captured({ writes, reads, messages, ...rest }).length;

/** As many sends as a ladder has room for, each with all that became of its bytes. */
function firstSends(trace: TraceData): TraceData {
  if (eventsOf(trace) <= MOST_EVENTS) return trace;
  let shown = trace;
  for (let sends = trace.writes.length - 1; sends > 0 && eventsOf(shown) > MOST_EVENTS; sends--) {
    const limit = trace.writes[sends]!.offset;
    const isBefore = ({ offset }: { readonly offset: number }): boolean => offset < limit;
    const { writes, reads, messages, segments } = trace;
    shown = {
      writes: writes.slice(0, sends),
      reads: reads.filter(isBefore),
      messages: messages.filter(isBefore),
      segments:
        segments?.source === 'capture'
          ? {
              ...segments,
              spans: segments.spans.filter(isBefore),
              acknowledgements: segments.acknowledgements.filter(({ offset }) => offset <= limit),
            }
          : segments,
    };
  }
  if (eventsOf(shown) <= MOST_EVENTS) return shown;
  const few = <T>(list: readonly T[]): readonly T[] => list.slice(0, MOST_EVENTS / 3);
  const { writes, reads, messages, segments } = shown;
  return {
    writes,
    reads: few(reads),
    messages: few(messages),
    segments: segments?.source === 'capture' ? { ...segments, spans: few(segments.spans) } : segments,
  };
}

const shownOf = ({ trace, back }: Stream): Stream => ({ trace: firstSends(trace), back: back && firstSends(back) });

/** One scale for all, if the streams took comparable times. */
export function ladderScale(streams: readonly Stream[]): LadderScale {
  if (streams.length < 2) return { most: TALLEST };
  const shown = streams.map(shownOf);
  const most = Math.min(TALLEST, Math.max(TALLEST_OF_SEVERAL, ...shown.map(heightOfLabels)));
  return { most, perMs: commonPerMs(shown.map(timesOf), most) };
}

/** What the labels of the fuller column need, with some air between them. */
function heightOfLabels({ trace, back }: Stream): number {
  const [there, here] = [trace, back].map((each) => ({
    from: each?.writes.length ?? 0,
    to: (each?.reads.length ?? 0) + (each?.messages.length ?? 0),
  }));
  return 1.2 * (RUNG + BETWEEN) * Math.max(there!.from + here!.to, there!.to + here!.from);
}

/** How far below a time the labels reach that stand above one another until then. */
function overhang({ trace, back }: Stream): (fromMs: number, at: Place) => number {
  const labels = [labelsOf(trace, 'left', 'right'), back ? labelsOf(back, 'right', 'left') : []]
    .flat()
    .toSorted((a, b) => a.atMs - b.atMs);
  return (fromMs, at) => {
    const stacks = { left: new Stack(), wire: new Stack(), right: new Stack() };
    for (const { column, atMs, height } of labels) if (atMs <= fromMs) stacks[column].place(at(atMs), height);
    const bottom = Math.max(...Object.values(stacks).map((stack) => stack.bottom));
    return bottom - at(fromMs) - RUNG / 2;
  };
}

interface Label {
  readonly column: 'left' | 'wire' | 'right';
  readonly atMs: number;
  readonly height: number;
}

function labelsOf(stream: TraceData, from: Label['column'], to: Label['column']): Label[] {
  const label =
    (column: Label['column'], height: number) =>
    ({ atMs }: { readonly atMs: number }): Label => ({
      column,
      atMs,
      height,
    });
  return [
    ...stream.writes.map(label(from, RUNG)),
    ...crossings(stream).map(({ span }) => label('wire', CARGO)(span)),
    ...acknowledgementsOf(stream).map(label('wire', SMALL)),
    ...stream.reads.flatMap((read) => [read, ...messagesOf(read, stream).map(() => read)].map(label(to, RUNG))),
  ];
}

/** Draws the ladder; `drawn` gets each part with the event that it shows. */
export function ladder(whole: Stream, { most, perMs }: LadderScale, label: string, drawn: Drawn) {
  const { trace, back } = shownOf(whole);
  const left: Side = { x: 36, cargo: 42, outwards: -1, stack: new Stack() };
  const right: Side = { x: 68, cargo: 62, outwards: 1, stack: new Stack() };
  const wire = new Stack();
  const both = back ? [trace, back] : [trace];
  const isSeen = both.some((each) => each.segments?.source === 'capture');
  const times = timesOf({ trace, back });
  const scale = timeScale(times, most, perMs, overhang({ trace, back }));
  const y = (ms: number): number => TOP + RUNG / 2 + scale.at(ms);

  const head = arrowHead();
  const lines = svg('svg', { class: 'ladder-lines', 'aria-hidden': 'true' }, head.defs);
  const picture = el('div', { class: 'ladder', role: 'img', 'aria-label': label });
  for (const each of scale.breaks) picture.append(breakOf(whyBroken(each, both), y(each.toMs) - RUNG / 2));
  const drawings = [...directionOf(trace, left, right, 0), ...(back ? directionOf(back, right, left, SHIFT) : [])];
  for (const { draw } of drawings.toSorted((a, b) => a.atMs - b.atMs)) draw();
  drawTimes();

  const bottom = Math.ceil(Math.max(y(times.at(-1) ?? 0), left.stack.bottom, wire.bottom, right.stack.bottom)) + 12;
  picture.style.height = `${bottom}px`;
  lines.prepend(line(left.x, TOP, left.x, bottom, 'column'), line(right.x, TOP, right.x, bottom, 'column'));
  picture.prepend(
    lines,
    title(t(back ? 'server' : 'sender'), left.x),
    title(t('wire'), (left.x + right.x) / 2),
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
    const bytesOf = (span: Span) =>
      cells(span, stream.writes, { letters: span.length <= LETTERS_UP_TO, size: true, shift });

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
        span.length <= LETTERS_UP_TO ? el('span', { class: 'rung-size' }, `${span.length} B`) : undefined,
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
    for (const atMs of new Set(times)) {
      if (axis.bottom + BETWEEN > y(atMs) - SMALL / 2) continue;
      const style = { top: `${axis.place(y(atMs), SMALL)}px` };
      picture.append(el('span', { class: 'ladder-time', style }, milliseconds(atMs)));
    }
  }

  function notes() {
    const { held, kept } = longestWaits(trace);
    return [
      isSeen ? undefined : t('wireUnseen'),
      held >= NOTABLE_MS ? t('heldFor', { ms: milliseconds(held) }) : undefined,
      kept >= NOTABLE_MS ? t('keptFor', { ms: milliseconds(kept) }) : undefined,
      trace === whole.trace ? undefined : t('onlyBeginning'),
    ].map((each) => (each === undefined ? undefined : el('p', { class: 'ladder-note' }, each)));
  }
}

const acrossWire = { left: '42%', width: '20%' };

const title = (text: string, x: number) =>
  el('div', { class: 'ladder-head', style: { left: `${x - 14}%`, width: '28%' } }, text);

const line = (x1: number, y1: number, x2: number, y2: number, kind: string, head?: string) =>
  svg('line', { x1: `${x1}%`, y1, x2: `${x2}%`, y2, class: kind, ...(head && { 'marker-end': head }) });

/** Nothing for a wait that cannot be seen. */
const waitBar = (x: number, from: number, to: number) => (to - from < 3 ? undefined : line(x, from, x, to, 'wait'));

/** A long wait in words: if it ends with the acknowledgement that bytes waited for, it says so. */
function whyBroken({ fromMs, toMs }: Break, both: readonly TraceData[]): string {
  const ms = milliseconds(toMs - fromMs);
  for (const stream of both) {
    const all = crossings(stream);
    const waited = stream.writes.filter((write) => {
      const gone = departureOf(write, all);
      return gone && write.atMs <= fromMs && gone.atMs >= toMs;
    });
    const [first] = waited;
    const gone = first && departureOf(first, all);
    const ended = acknowledgementsOf(stream).find(
      ({ atMs, offset }) => gone && atMs >= toMs && atMs <= gone.atMs && offset <= first.offset,
    );
    const n = waited.reduce((sum, { length }) => sum + length, 0);
    if (n > 0 && ended) return t('pauseForAck', { ms, n, ack: ended.offset });
  }
  return t('pauseOf', { ms });
}

/** It ends where the next event's label begins. */
const breakOf = (says: string, bottom: number) =>
  el(
    'div',
    { class: 'ladder-break', style: { top: `${bottom - BAND - BETWEEN}px`, height: `${BAND}px` } },
    el('span', {}, says),
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
