/**
 * Streams side by side, as small multiples: each as a ladder over time or as lanes over its bytes, and as a table. One
 * player moves them all by one clock, in proportion to real time. Bytes are coloured by their send, so glued sends show
 * as colours that share a block, and split ones as colours torn apart.
 */
import { el } from '../dom.js';
import { ladder, ladderScale, type Stream } from './ladder.js';
import { lanes } from './lanes.js';
import { player } from './player.js';
import { content, milliseconds, saying } from './spans.js';
import type { Lane, Span } from './spans.js';
import { t } from '../words.js';

/** A stream, and what stands above it. */
export interface Story extends Stream {
  readonly head?: readonly (Node | undefined)[];
}

/** One event of a story, and what shows it in either view. */
interface Step {
  readonly lane: Lane;
  readonly span: Span;
  readonly parts: Element[];
}

type View = 'ladder' | 'lanes';

const MOST_ROWS = 200;
/** Chosen for all stories of the page. */
let chosen: View = 'ladder';

export function stories(all: readonly Story[], { play = true }: { play?: boolean } = {}) {
  const scale = ladderScale(all);
  const views: { readonly view: View; readonly element: HTMLElement }[] = [];
  const steps: Step[] = [];
  const told = all.map(({ head = [], trace, back }) => {
    const bySpan = new Map<Span, Step>();
    const drawn = (lane: Lane, span: Span, part: Element): void => {
      // Without a capture an arrow shows the way of a write.
      const step = bySpan.get(span) ?? { lane, span, parts: [] };
      step.parts.push(part);
      bySpan.set(span, step);
    };
    const summary = t('summary', { w: trace.writes.length, r: trace.reads.length, m: trace.messages.length });
    const label = t('summaryLane', { text: summary });
    const over = { lanes: lanes(trace, label, drawn), ladder: ladder({ trace, back }, scale, label, drawn) };
    views.push({ view: 'lanes', element: over.lanes }, { view: 'ladder', element: over.ladder });
    const own = [...bySpan.values()].sort(byTime);
    const rows = own.slice(0, MOST_ROWS).map(rowOf);
    for (const [index, row] of rows.entries()) own[index]!.parts.push(row);
    steps.push(...own);
    return el('article', { class: 'story' }, ...head, over.ladder, over.lanes, tableOf(rows));
  });
  steps.sort(byTime);

  const played = player(
    steps.map(({ lane, span }) => ({ atMs: span.atMs, text: saying(lane, span) })),
    (count) => {
      for (const [index, { parts }] of steps.entries()) {
        const isNow = index === count - 1 && count < steps.length;
        for (const part of parts) {
          part.classList.toggle('shown', index < count);
          part.classList.toggle('now', isNow);
        }
      }
    },
  );

  const choices = (['ladder', 'lanes'] as const).map((view) =>
    el(
      'button',
      { type: 'button', class: 'small', 'data-view': view, onclick: () => choose(view) },
      t(VIEW_WORDS[view]),
    ),
  );
  const legend = el(
    'p',
    { class: 'legend' },
    ...(['Read', 'Message', 'Wait'] as const).map((name) =>
      el('span', {}, el('span', { class: `sample ${name.toLowerCase()}`, 'aria-hidden': 'true' }), t(`legend${name}`)),
    ),
  );
  function choose(view: View): void {
    chosen = view;
    legend.hidden = view !== 'ladder';
    for (const button of choices) button.setAttribute('aria-pressed', String(button.dataset['view'] === view));
    for (const each of views) each.element.hidden = each.view !== view;
  }
  choose(chosen);

  const element = el(
    'div',
    { class: 'stories' },
    el(
      'div',
      { class: 'story-tools' },
      el('div', { class: 'view-choice', role: 'group', 'aria-label': t('drawnAs') }, ...choices),
      played.element,
    ),
    el('div', { class: `multiples of-${Math.min(told.length, 4)}` }, ...told),
    legend,
  );
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  if (play && !still && steps.length > 1) {
    played.show(0);
    played.start();
  }
  return { element, stop: played.stop };
}

const VIEW_WORDS = { ladder: 'viewLadder', lanes: 'viewLanes' } as const;

const byTime = (left: Step, right: Step): number => left.span.atMs - right.span.atMs;

const rowOf = ({ lane, span }: Step) =>
  el(
    'tr',
    {},
    el('td', { class: 'number' }, milliseconds(span.atMs)),
    el('td', {}, t(lane === 'messages' ? 'messagesLane' : lane)),
    el('td', { class: 'number' }, String(span.length)),
    el('td', { class: 'code' }, content(span)),
  );

/** The same as a table, for readers who cannot see the picture. */
function tableOf(rows: readonly HTMLElement[]) {
  const columns = ['columnTime', 'columnWhat', 'columnBytes', 'columnContent'] as const;
  return el(
    'details',
    { class: 'as-table' },
    el('summary', {}, t('asTable')),
    el(
      'div',
      { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('asTable') },
      el(
        'table',
        {},
        el('thead', {}, el('tr', {}, ...columns.map((name) => el('th', { scope: 'col' }, t(name))))),
        el('tbody', {}, ...rows),
      ),
    ),
  );
}
