/** Draws the rows of an output that are in sight, as text nodes, once a frame however fast the output comes. */
import { clockText } from '../../parts/format.js';
import { spansOf, type Encoding } from './decoding.js';
import type { OutputSession } from './output-session.js';
import type { Stream } from './output-buffer.js';

const BEYOND = 10;
/** Rows before the end of what is here within which more is wanted. */
const NEAR = 2000;

export interface Look {
  readonly encoding: Encoding;
  readonly withCodes: boolean;
  /** In lower case; empty: nothing is searched. */
  readonly search: string;
  /** The row of the present match. */
  readonly current: number | undefined;
}

export class OutputPane {
  readonly #scroller: HTMLElement;
  readonly #sizer: HTMLElement;
  readonly #session: OutputSession;
  #look: Look;
  #frame = 0;
  #row = 20;
  /** The scroll position that we set: a scroll event of ours says nothing about the reader. */
  #ownTop = -1;
  /** Rows that came or went in front since the last drawing. */
  #inFront = 0;
  readonly #resized: ResizeObserver;
  /** Told of the first row in sight after each drawing. */
  onSight: (first: number) => void = () => {};

  constructor(scroller: HTMLElement, session: OutputSession, look: Look) {
    this.#scroller = scroller;
    this.#session = session;
    this.#look = look;
    this.#sizer = document.createElement('div');
    this.#sizer.className = 'out-rows';
    scroller.append(this.#sizer);
    scroller.addEventListener('scroll', this.#onScroll, { passive: true });
    this.#resized = new ResizeObserver(() => this.redraw());
    this.#resized.observe(scroller);
    session.changed = (inFront) => {
      this.#inFront += inFront;
      this.redraw();
    };
    this.redraw();
  }

  end(): void {
    cancelAnimationFrame(this.#frame);
    this.#resized.disconnect();
    this.#scroller.removeEventListener('scroll', this.#onScroll);
    this.#sizer.remove();
  }

  set look(look: Look) {
    this.#look = look;
    this.redraw();
  }

  redraw(): void {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  /** Brings a row into sight, in the middle unless it is to be the first. */
  show(row: number, where: 'middle' | 'first' = 'middle'): void {
    const above = where === 'first' ? 0 : this.#scroller.clientHeight / 2;
    this.#size();
    this.#scrollTo(Math.max(0, row * this.#row - above));
    this.redraw();
  }

  readonly #onScroll = (): void => {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    if (Math.abs(scrollTop - this.#ownTop) > 1) {
      // The reader scrolled: away from the end, or back to it. Or the browser did, as the pane became higher at the end.
      this.#ownTop = -1;
      const isAtEnd = scrollTop + clientHeight >= scrollHeight - this.#row;
      const { isFollowing } = this.#session.standing.value;
      this.#session.follow(isAtEnd && (isFollowing || this.#session.behind === 0));
      if (scrollTop < clientHeight && this.#session.hasEarlier) void this.#session.earlier();
    }
    this.redraw();
  };

  #scrollTo(top: number): void {
    this.#scroller.scrollTop = top;
    this.#ownTop = this.#scroller.scrollTop;
  }

  #size(): void {
    this.#row = Number.parseFloat(getComputedStyle(this.#scroller).getPropertyValue('--out-row')) || 20;
    this.#sizer.style.height = `${this.#session.buffer.rows * this.#row}px`;
  }

  #draw(): void {
    const { buffer, standing } = this.#session;
    this.#size();
    const { clientHeight } = this.#scroller;
    if (standing.value.isFollowing) this.#scrollTo(this.#scroller.scrollHeight);
    else if (this.#inFront !== 0) this.#scrollTo(this.#scroller.scrollTop + this.#inFront * this.#row);
    this.#inFront = 0;
    const top = this.#scroller.scrollTop;
    const first = Math.max(0, Math.floor(top / this.#row) - BEYOND);
    const last = Math.min(buffer.rows, Math.ceil((top + clientHeight) / this.#row) + BEYOND);
    const rows: HTMLElement[] = [];
    for (let row = first; row < last; row++) rows.push(this.#drawRow(row));
    this.#sizer.replaceChildren(...rows);
    this.#session.near(last > buffer.rows - NEAR);
    this.onSight(Math.max(0, Math.floor(top / this.#row)));
  }

  #drawRow(index: number): HTMLElement {
    const parts = this.#session.buffer.row(index);
    const { encoding, withCodes, search, current } = this.#look;
    const row = document.createElement('div');
    const spans = spansOf(parts, encoding, withCodes, search);
    const kinds = new Set(parts.map(({ stream }) => stream ?? 'note'));
    row.className = `out-row ${kinds.has('note') ? 'note' : kinds.has('stderr') ? 'err' : ''}`;
    row.style.transform = `translateY(${index * this.#row}px)`;
    const time = parts.find(({ timeMs }) => timeMs !== undefined)?.timeMs;
    row.append(element('out-time', time === undefined ? '' : clockText(time)));
    row.append(element('out-mark', kinds.has('stderr') ? 'err' : ''));
    for (const { text, kind, isMatch } of spans) {
      if (isMatch) {
        const mark = document.createElement('mark');
        if (index === current) mark.className = 'now';
        mark.textContent = text;
        row.append(mark);
      } else if (kind === 'hidden' || kind === 'code') row.append(element('ctl', text));
      else if (kind === ('stderr' satisfies Stream) && kinds.size > 1) row.append(element('err-text', text));
      else row.append(text);
    }
    return row;
  }
}

function element(name: string, text: string): HTMLElement {
  const span = document.createElement('span');
  span.className = name;
  span.textContent = text;
  return span;
}
