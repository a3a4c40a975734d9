/** The nine phenomena of the chapter, each run on demand. */
import { PHENOMENON_NAMES, type PhenomenonName } from '../dist/phenomena/names.js';
import type { Answer, Progress } from '../dist/page/protocol.js';
import { ask } from './connection.js';
import { choice } from './controls.js';
import { el } from './dom.js';
import { lastOf, requests } from './draw/requests.js';
import { stories } from './draw/stories.js';
import { exportBar } from './export.js';
import { goTo, here } from './place.js';
import { progressBar } from './progress.js';
import { currentLanguage, t, type Word } from './words.js';

/** The findings of a phenomenon, or why it failed. */
type Result = Answer<'show'> | { failed: string };
type ShownPhenomenon = Answer<'show'>['en'];
type Observation = ShownPhenomenon['observations'][number];

export function phenomena(root: HTMLElement) {
  let current: PhenomenonName = 'sticky';
  /** Measurements, by name. */
  const results = new Map<PhenomenonName, Result>();
  /** Phenomena running or waiting for their turn. */
  const busy = new Map<PhenomenonName, { last?: Progress; update?: (step: Progress) => void }>();
  let playing: { stop(): void } | undefined;

  async function run(name: PhenomenonName) {
    if (busy.has(name)) return;
    const progress: { last?: Progress; update?: (step: Progress) => void } = {};
    busy.set(name, progress);
    draw();
    try {
      const answer = await ask('show', { name }, (step) => {
        progress.last = step;
        progress.update?.(step);
      });
      results.set(name, answer);
    } catch (error) {
      results.set(name, { failed: error instanceof Error ? error.message : String(error) });
    }
    busy.delete(name);
    if (name === current) draw(true);
  }

  function chooseOne(name: PhenomenonName): void {
    current = name;
    goTo('phenomena', name);
    if (results.has(name)) draw();
    else void run(name);
  }

  function draw(play: boolean = false) {
    playing?.stop();
    playing = undefined;
    const focused = document.activeElement?.getAttribute('data-name');
    const list = el(
      'nav',
      { 'aria-label': t('choose') },
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
                onclick: () => chooseOne(name),
              },
              el('span', { class: 'code' }, name),
              t(`p_${name}` as Word),
            ),
          ),
        ),
      ),
    );
    // On a phone, instead of the list.
    const picker = choice(
      current,
      PHENOMENON_NAMES.map((name) => [name, t(`p_${name}` as Word)]),
      (name) => chooseOne(name as PhenomenonName),
    );
    picker.setAttribute('aria-label', t('choose'));
    picker.setAttribute('data-name', 'picker');
    const result = results.get(current);
    root.replaceChildren(
      el(
        'div',
        { class: 'split' },
        el('div', { class: 'list' }, list, picker),
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
    const progress = busy.get(current);
    if (progress) {
      const bar = progressBar(progress.last);
      progress.update = bar.update;
      return [heading, el('p', { class: 'sr', role: 'status' }, t('running')), bar.element];
    }
    if (result && 'failed' in result) return [heading, el('p', { class: 'error', role: 'alert' }, result.failed)];
    if (!result || !shown) return [heading];
    const picture = el(
      'div',
      { class: 'outcome' },
      heading,
      el('p', { class: 'headline', role: 'status' }, shown.verdict),
      shown.notShown ? el('p', { class: 'error' }, el('strong', {}, `${t('notShown')}: `), shown.notShown) : undefined,
      shown.plot ? plot(shown.plot) : undefined,
      observed(shown.observations, play),
      el(
        'dl',
        { class: 'sayings' },
        el('div', {}, el('dt', {}, t('chapterSays')), el('dd', { class: 'claim' }, shown.chapter)),
        el('div', {}, el('dt', {}, t('measured')), el('dd', { class: 'measured' }, shown.explanation)),
      ),
    );
    return [
      picture,
      shown.table
        ? el('details', { class: 'as-table' }, el('summary', {}, t('numbersAsTable')), table(shown.table))
        : undefined,
      exportBar({
        name: current,
        ...(shown.observations.length > 0 && { pcap: current }),
        picture: () => picture,
        data: () => ({ wirelab: 'phenomenon', en: result.en, zh: result.zh }),
      }).element,
    ].filter((each) => each !== undefined);
  }

  /** The observations side by side. */
  function observed(all: readonly Observation[], play: boolean) {
    if (all.length === 0) return undefined;
    const asRequests = all.flatMap(({ requests: each }) => (each ? [each] : []));
    if (asRequests.length > 0)
      return el(
        'div',
        { class: 'multiples of-requests' },
        ...all.map(({ title, requests: each = [] }) =>
          el('article', { class: 'story' }, el('h3', {}, title), requests(each, title, lastOf(asRequests))),
        ),
      );
    const drawn = stories(
      all
        .filter((each) => !isShownAsBack(each, all))
        .map(({ title, facts: values, ...streams }) => ({
          head: [el('h3', {}, title), facts(values)].filter((each) => each !== undefined),
          trace: streams,
          back: streams.back,
        })),
      { play },
    );
    playing = drawn;
    return drawn.element;
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

/** A dialogue is drawn whole, with its other direction. */
const isShownAsBack = ({ writes, reads }: Observation, all: readonly Observation[]): boolean =>
  all.some(({ back }) => back && JSON.stringify([back.writes, back.reads]) === JSON.stringify([writes, reads]));

function facts(values: Observation['facts']) {
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
