/**
 * The story of one stream: as a ladder over time or as lanes over its bytes, played in proportion to real time, and as a
 * table. Bytes are coloured by their send, so glued sends show as colours that share a block, and split ones as colours
 * torn apart.
 */
import { el } from './dom.js';
import { ladder } from './ladder.js';
import { lanes } from './lanes.js';
import { player } from './player.js';
import { content, milliseconds, saying } from './spans.js';
import type { Lane, Span, TraceData } from './spans.js';
import { t } from './words.js';

/** One event of the story, and what shows it in either view. */
interface Step {
  readonly lane: Lane;
  readonly span: Span;
  readonly parts: Element[];
}

type View = 'ladder' | 'lanes';

const MOST_ROWS = 200;
/** Chosen for all stories of the page. */
let chosen: View = 'ladder';

/** `back`: the stream in the other direction of a dialogue. */
export function timeline(
  trace: TraceData,
  { play = true, back }: { play?: boolean; back?: TraceData | undefined } = {},
) {
  const bySpan = new Map<Span, Step>();
  const drawn = (lane: Lane, span: Span, part: Element): void => {
    // Without a capture an arrow shows the way of a write.
    const step = bySpan.get(span) ?? { lane, span, parts: [] };
    step.parts.push(part);
    bySpan.set(span, step);
  };
  const summary = t('summary', { w: trace.writes.length, r: trace.reads.length, m: trace.messages.length });
  const label = t('summaryLane', { text: summary });
  const views: Record<View, HTMLElement> = {
    lanes: lanes(trace, label, drawn),
    ladder: ladder(trace, back, label, drawn),
  };
  const steps = [...bySpan.values()].sort((left, right) => left.span.atMs - right.span.atMs);
  const rows = steps.slice(0, MOST_ROWS).map(rowOf);

  const played = player(
    steps.map(({ lane, span }) => ({ atMs: span.atMs, text: saying(lane, span) })),
    (count) => {
      for (const [index, { parts }] of steps.entries()) {
        const isNow = index === count - 1 && count < steps.length;
        for (const part of [...parts, ...(rows[index] ? [rows[index]] : [])]) {
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
  function choose(view: View): void {
    chosen = view;
    for (const button of choices) button.setAttribute('aria-pressed', String(button.dataset['view'] === view));
    for (const [name, element] of Object.entries(views)) element.hidden = name !== view;
  }
  choose(chosen);

  const element = el(
    'div',
    { class: 'timeline' },
    el('div', { class: 'view-choice', role: 'group', 'aria-label': t('drawnAs') }, ...choices),
    views.ladder,
    views.lanes,
    played.element,
    tableOf(rows),
  );
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  if (play && !still && steps.length > 1) {
    played.show(0);
    played.start();
  }
  return { element, stop: played.stop };
}

const VIEW_WORDS = { ladder: 'viewLadder', lanes: 'viewLanes' } as const;

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
