/**
 * The bytes of one direction before and after the faults of a proxy, in rows one above the other: each byte has the
 * colour of its read, each box is a read or a write. Faults are marked at the bytes where they struck, and columns below
 * the writes say how long they were held.
 */
import { el, svg } from '../dom.js';
import { bytesOf, milliseconds, visible } from './spans.js';
import type { Flow, Piece, Struck } from './flows.js';
import { t, type Word } from '../words.js';

const COLOURS = 8;
/** Widths of a byte, and of the words to the left. */
const CELL = 13;
const WIDEST_CELL = 20;
const GUTTER = 70;
/** Heights. */
const MARKS = 20;
const BOX = 26;
const BETWEEN = 5;
const HELD = 20;
const APART = 14;
const ROW = MARKS + BOX + BETWEEN + BOX + HELD + APART;
/** The latest rows are drawn. */
const MOST_ROWS = 6;
/** Places of a fault that are named. */
const MOST_PLACES = 12;
/** Approximate width of a letter of a mark's word. */
const LETTER = 7.5;
const WIDE_LETTER = 14;
/** A shorter time in a proxy is not worth a column. */
const NOTABLE_MS = 0.5;

const KINDS: Record<string, Word> = {
  corrupt: 'struckCorrupt',
  stall: 'struckStall',
  'cut-every': 'struckCut',
  'reset-after': 'struckReset',
  'half-close': 'struckHalfClose',
};

const kindOf = ({ fault, what }: Struck): string => (KINDS[fault] ? t(KINDS[fault]) : what);

/** @param width pixels that the picture may take */
export function beforeAfter(flow: Flow, width: number): HTMLElement {
  const { connection, direction, counts, came, went } = flow;
  const way = t(direction === 'up' ? 'toServer' : 'toClient');
  const says = t('becameWrites', { r: counts.reads, b: came, w: counts.writes, a: went });
  return el(
    'article',
    { class: 'flow' },
    el(
      'h2',
      {},
      el('span', { class: `way ${direction}`, 'aria-hidden': 'true' }, direction === 'up' ? '→' : '←'),
      ` ${t('flowOf', { n: connection, way })}`,
    ),
    el('p', { class: 'flow-says' }, says),
    el('div', { role: 'img', 'aria-label': `${way}: ${says}` }, picture(flow, width)),
    struckList(flow),
  );
}

/** A fault in words, with its place. */
export const struckAt = (fault: Struck): string =>
  t('struckAt', { what: kindOf(fault), list: fault.afterBytes.toLocaleString('en') });

/** The faults in words, by kind. */
function struckList({ struck, counts }: Flow) {
  const lines = [...new Set(struck.map(kindOf))].map((what) => {
    const all = struck.filter((fault) => kindOf(fault) === what);
    const places = all.slice(0, MOST_PLACES).map(({ afterBytes }) => afterBytes.toLocaleString('en'));
    const more = all.length > MOST_PLACES ? ' …' : '';
    return t('struckAt', { what, list: `${places.join(t('comma'))}${more}` });
  });
  if (counts.lost > 0) lines.push(t('lostBytes', { n: counts.lost }));
  if (lines.length === 0) return undefined;
  return el('ul', { class: 'struck' }, ...lines.map((line) => el('li', {}, line)));
}

function picture(flow: Flow, width: number): SVGElement {
  const total = Math.max(1, flow.came, flow.went);
  const perRow = Math.max(8, Math.floor((width - GUTTER) / CELL / 8) * 8);
  const cell = Math.min(WIDEST_CELL, (width - GUTTER - 2) / perRow);
  const rows = Math.ceil(total / perRow);
  const firstRow = Math.max(0, rows - MOST_ROWS);
  const drawing = svg('svg', { class: 'before-after', width, height: (rows - firstRow) * ROW, 'aria-hidden': 'true' });
  const longest = Math.max(NOTABLE_MS, ...flow.writes.map((write) => flow.heldMs(write)));
  const flips = new Set(flow.struck.filter(({ fault }) => fault === 'corrupt').map(({ afterBytes }) => afterBytes));
  for (let row = firstRow; row < rows; row++) drawRow(row, (row - firstRow) * ROW);
  return drawing;

  function drawRow(row: number, top: number): void {
    const from = row * perRow;
    const to = Math.min(total, from + perRow);
    const x = (offset: number): number => GUTTER + (offset - from) * cell;
    const before = top + MARKS;
    const after = before + BOX + BETWEEN;
    const below = after + BOX;
    word(top, MARKS, t('fromByte', { n: from.toLocaleString('en') }), 'quiet');
    word(before, BOX, t('before'));
    word(after, BOX, t('after'));
    if (flow.counts.heldMs >= NOTABLE_MS) word(below, HELD, t('held'), 'quiet');

    for (const [index, read] of flow.reads.entries())
      part(read, (begin, end) => {
        box(x(begin), before, x(end), `c${(flow.begins + index) % COLOURS}`, 'fill');
        letters(read, begin, end, before);
        frame(read, begin, end, before);
      });
    for (const write of flow.writes)
      part(write, (begin, end) => {
        for (const [index, read] of flow.reads.entries()) {
          const [a, b] = [Math.max(begin, read.offset), Math.min(end, read.offset + read.length)];
          if (a < b) box(x(a), after, x(b), `c${(flow.begins + index) % COLOURS}`, 'fill');
        }
        for (let at = begin; at < end; at++) if (flips.has(at)) box(x(at), after, x(at + 1), 'flipped');
        letters(write, begin, end, after);
        frame(write, begin, end, after);
        heldColumn(write, x(begin), x(end), below);
      });
    if (flow.isClosed && flow.went < to && flow.went < flow.came)
      box(x(Math.max(from, flow.went)), after, x(Math.min(to, flow.came)), 'lost');
    marks(from, to, x, top, below);

    /** The part of a piece that lies in this row. */
    function part({ offset, length }: Piece, draw: (begin: number, end: number) => void): void {
      const [begin, end] = [Math.max(from, offset), Math.min(to, offset + length)];
      if (begin < end) draw(begin, end);
    }
    /** An edge is open where the piece goes on in another row. */
    function frame({ offset, length }: Piece, begin: number, end: number, y: number): void {
      const [left, right] = [x(begin) + 1, x(end) - 1];
      const [isBegin, isEnd] = [begin === offset, end === offset + length];
      const top = y + 1;
      const bottom = y + BOX - 1;
      const path = [
        isBegin ? `M${left} ${top}V${bottom}` : '',
        isEnd ? `M${right} ${top}V${bottom}` : '',
        `M${left} ${top}H${right}M${left} ${bottom}H${right}`,
      ];
      drawing.append(svg('path', { d: path.join(''), class: 'frame' }));
    }
  }

  function word(y: number, height: number, text: string, kind = ''): void {
    drawing.append(svg('text', { x: 0, y: y + height / 2, class: `side ${kind}` }, document.createTextNode(text)));
  }
  function box(left: number, y: number, right: number, kind: string, more = ''): void {
    const size = { x: left + 1, y: y + 1, width: Math.max(1, right - left - 2), height: BOX - 2 };
    drawing.append(svg('rect', { ...size, class: `${more} ${kind}` }));
  }
  function letters(piece: Piece, begin: number, end: number, y: number): void {
    const known = bytesOf(piece).subarray(begin - piece.offset, end - piece.offset);
    if (known.length === 0) return;
    const first = GUTTER + ((begin % perRow) + 0.5) * cell;
    const places = Array.from(known, (_, i) => (first + i * cell).toFixed(1)).join(' ');
    const text = Array.from(known, visible).join('');
    drawing.append(svg('text', { x: places, y: y + BOX / 2 + 1, class: 'letters' }, document.createTextNode(text)));
  }
  function heldColumn(write: Piece, left: number, right: number, y: number): void {
    const held = flow.heldMs(write);
    if (held < NOTABLE_MS) return;
    const height = Math.max(2, (held / longest) * (HELD - 2));
    const column = svg(
      'rect',
      { x: left + 2, y: y + 2, width: Math.max(1, right - left - 4), height, class: 'held' },
      svg('title', {}, document.createTextNode(t('heldIn', { ms: milliseconds(held) }))),
    );
    drawing.append(column);
  }

  /** Words where they have room; all faults are in the list below. */
  function marks(from: number, to: number, x: (offset: number) => number, top: number, bottom: number): void {
    const isLast = to === total;
    const own = flow.struck
      .filter(({ afterBytes: at, fault }) => at >= from && (at < to || (isLast && at === to && fault !== 'corrupt')))
      .toSorted((a, b) => a.afterBytes - b.afterBytes);
    let free = GUTTER;
    for (const [index, fault] of own.entries()) {
      const isByte = fault.fault === 'corrupt';
      const at = x(fault.afterBytes) + (isByte ? cell / 2 : 0);
      const end = isByte ? top + MARKS : bottom;
      drawing.append(svg('path', { d: `M${at} ${top + 4}V${end}`, class: 'struck-line' }));
      const tip = `M${at - 5} ${top + 4}H${at + 5}L${at} ${top + 12}z`;
      drawing.append(
        svg(
          'path',
          { d: tip, class: 'struck-tip' },
          svg('title', {}, document.createTextNode(`${kindOf(fault)}: ${fault.afterBytes}`)),
        ),
      );
      const text = kindOf(fault);
      const long = Array.from(text).reduce((sum, letter) => sum + (letter > '\u2e80' ? WIDE_LETTER : LETTER), 0);
      const next = own[index + 1];
      const limit = next ? x(next.afterBytes) - 8 : width;
      const after = at + 9;
      const before = at - 9 - long;
      if (after + long <= limit) {
        label(after, text);
        free = after + long;
      } else if (before >= free) {
        label(before, text);
        free = at;
      } else free = at + 6;
    }
    function label(left: number, text: string): void {
      drawing.append(svg('text', { x: left, y: top + 9, class: 'struck-word' }, document.createTextNode(text)));
    }
  }
}
