/** The nine phenomena of the chapter, each run on demand. */
import { PHENOMENON_NAMES, type PhenomenonName } from '../dist/phenomena/names.js';
import type { Answer } from '../dist/page/protocol.js';
import { ask } from './connection.js';
import { el } from './dom.js';
import { goTo, here } from './place.js';
import { requests } from './requests.js';
import { timeline } from './timeline.js';
import { currentLanguage, t, type Word } from './words.js';

/** The findings of a phenomenon, or why it failed. */
type Result = Answer<'show'> | { failed: string };
type ShownPhenomenon = Answer<'show'>['en'];

export function phenomena(root: HTMLElement) {
  let current: PhenomenonName = 'sticky';
  /** Measurements, by name. */
  const results = new Map<PhenomenonName, Result>();
  /** Phenomena running or waiting for their turn. */
  const busy: Set<PhenomenonName> = new Set();
  let playing: { stop(): void }[] = [];

  async function run(name: PhenomenonName) {
    if (busy.has(name)) return;
    busy.add(name);
    draw();
    try {
      results.set(name, await ask('show', { name }));
    } catch (error) {
      results.set(name, { failed: error instanceof Error ? error.message : String(error) });
    }
    busy.delete(name);
    if (name === current) draw(true);
  }

  function draw(play: boolean = false) {
    for (const each of playing) each.stop();
    playing = [];
    const focused = document.activeElement?.getAttribute('data-name');
    const list = el(
      'nav',
      { class: 'list', 'aria-label': t('choose') },
      el(
        'ul',
        {},
        ...PHENOMENON_NAMES.map((name) =>
          el(
            'li',
            {},
            el(
              'button',
              {
                type: 'button',
                'data-name': name,
                'aria-current': name === current ? 'true' : undefined,
                onclick: () => {
                  current = name;
                  goTo('phenomena', name);
                  if (results.has(name)) draw();
                  else void run(name);
                },
              },
              el('span', { class: 'code' }, name),
              t(`p_${name}` as Word),
            ),
          ),
        ),
      ),
    );
    const result = results.get(current);
    root.replaceChildren(
      el(
        'div',
        { class: 'split' },
        list,
        el('div', { class: 'result', 'aria-busy': busy.has(current) ? 'true' : 'false' }, ...detail(result, play)),
      ),
    );
    if (focused) (root.querySelector(`[data-name="${focused}"]`) as HTMLElement | null)?.focus();
  }

  function detail(result: Result | undefined, play: boolean) {
    const shown = result && !('failed' in result) ? result[currentLanguage()] : undefined;
    const button = el(
      'button',
      {
        type: 'button',
        class: 'primary',
        disabled: busy.has(current),
        'data-name': 'run',
        onclick: () => void run(current),
      },
      t(result ? 'runAgain' : 'run'),
    );
    const heading = el('div', { class: 'heading' }, el('h2', {}, shown?.title ?? t(`p_${current}` as Word)), button);
    if (busy.has(current)) return [heading, el('p', { class: 'quiet', role: 'status' }, t('running'))];
    if (result && 'failed' in result) return [heading, el('p', { class: 'error', role: 'alert' }, result.failed)];
    if (!shown) return [heading];
    return [
      heading,
      el('p', { class: 'claim' }, el('strong', {}, `${t('chapterSays')}: `), shown.chapter),
      el('p', { class: 'measured', role: 'status' }, el('strong', {}, `${t('measured')}: `), shown.explanation),
      shown.notShown ? el('p', { class: 'error' }, el('strong', {}, `${t('notShown')}: `), shown.notShown) : undefined,
      shown.plot ? plot(shown.plot) : undefined,
      shown.table ? table(shown.table) : undefined,
      ...shown.observations.map((observation, index) => {
        const drawn = observation.requests
          ? { element: requests(observation.requests, observation.title), stop: () => undefined }
          : timeline(observation, { play: play && index === 0, back: observation.back });
        playing.push(drawn);
        return el(
          'article',
          { class: 'card' },
          el('h3', {}, observation.title),
          facts(observation.facts),
          drawn.element,
        );
      }),
    ].filter((each) => each !== undefined);
  }

  return {
    translate: () => draw(),
    item: () => current,
    shown() {
      const { tab, item } = here();
      const named = tab === 'phenomena' && PHENOMENON_NAMES.find((name) => name === item);
      if (named && named !== current) {
        current = named;
        draw();
      }
      if (!results.has(current)) void run(current);
    },
  };
}

function facts(values: ShownPhenomenon['observations'][number]['facts']) {
  if (!values) return undefined;
  return el(
    'p',
    { class: 'facts' },
    ...Object.entries(values).map(([name, value]) =>
      el(
        'span',
        { class: 'fact' },
        `${t(`f_${name}` as Word)} ${typeof value === 'boolean' ? t(value ? 'yes' : 'no') : value}`,
      ),
    ),
  );
}

function table({ columns, rows }: NonNullable<ShownPhenomenon['table']>) {
  return el(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': columns.join(', ') },
    el(
      'table',
      {},
      el(
        'thead',
        {},
        el(
          'tr',
          {},
          ...columns.map((column, index) =>
            el('th', { scope: 'col', class: typeof rows[0]?.[index] === 'number' ? 'number' : '' }, column),
          ),
        ),
      ),
      el(
        'tbody',
        {},
        ...rows.map((row) =>
          el(
            'tr',
            {},
            ...row.map((cell) => el('td', { class: typeof cell === 'number' ? 'number' : '' }, String(cell))),
          ),
        ),
      ),
    ),
  );
}

function plot({ title, unit, bars }: NonNullable<ShownPhenomenon['plot']>) {
  const most = Math.max(...bars.map((bar) => bar.value), 1e-9);
  return el(
    'figure',
    { class: 'plot' },
    el('figcaption', {}, title),
    el(
      'div',
      { class: 'bars' },
      ...bars.map((bar, index) =>
        el(
          'div',
          { class: 'bar' },
          el('span', { class: 'bar-label' }, bar.label),
          el('span', { class: `bar-fill c${index % 2 === 0 ? 0 : 3}`, style: { '--part': bar.value / most } }),
          el('span', { class: 'bar-value' }, `${bar.value} ${unit}`),
        ),
      ),
    ),
  );
}
