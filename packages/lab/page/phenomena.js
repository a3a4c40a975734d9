// @ts-check
// The nine phenomena of the chapter, each run on demand.
import { ask } from './connection.js';
import { el } from './dom.js';
import { timeline } from './timeline.js';
import { currentLanguage, t } from './words.js';

const names = /** @type {const} */ ([
  'sticky',
  'leftover',
  'udp',
  'empty',
  'loss',
  'ready',
  'prefix',
  'rtt',
  'concurrency',
]);
/** @typedef {(typeof names)[number]} Name */

/** @param {HTMLElement} root */
export function phenomena(root) {
  /** @type {Name} */
  let current = 'sticky';
  /** What was measured, by name. @type {Map<Name, import('./connection.js').Message>} */
  const results = new Map();
  /** What runs or waits for its turn. @type {Set<Name>} */
  const busy = new Set();
  /** @type {{ stop(): void }[]} */
  let playing = [];

  /** @param {Name} name */
  async function run(name) {
    if (busy.has(name)) return;
    busy.add(name);
    draw();
    try {
      results.set(name, await ask({ type: 'show', name }));
    } catch (error) {
      results.set(name, { failed: error instanceof Error ? error.message : String(error) });
    }
    busy.delete(name);
    if (name === current) draw(true);
  }

  /** @param {boolean} [play] */
  function draw(play = false) {
    for (const each of playing) each.stop();
    playing = [];
    const focused = document.activeElement?.getAttribute('data-name');
    const list = el(
      'nav',
      { class: 'list', 'aria-label': t('choose') },
      el(
        'ul',
        {},
        ...names.map((name) =>
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
                  if (results.has(name)) draw();
                  else void run(name);
                },
              },
              el('span', { class: 'code' }, name),
              t(/** @type {import('./words.js').Word} */ (`p_${name}`)),
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
    if (focused) /** @type {HTMLElement | null} */ (root.querySelector(`[data-name="${focused}"]`))?.focus();
  }

  /** @param {import('./connection.js').Message | undefined} result @param {boolean} play */
  function detail(result, play) {
    const shown = result?.[currentLanguage()];
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
    const heading = el(
      'div',
      { class: 'heading' },
      el('h2', {}, shown?.title ?? t(/** @type {import('./words.js').Word} */ (`p_${current}`))),
      button,
    );
    if (busy.has(current)) return [heading, el('p', { class: 'quiet', role: 'status' }, t('running'))];
    if (result?.failed) return [heading, el('p', { class: 'error', role: 'alert' }, result.failed)];
    if (!shown) return [heading];
    return [
      heading,
      el('p', { class: 'claim' }, el('strong', {}, `${t('chapterSays')}: `), shown.chapter),
      el('p', { class: 'measured', role: 'status' }, el('strong', {}, `${t('measured')}: `), shown.explanation),
      shown.notShown ? el('p', { class: 'error' }, el('strong', {}, `${t('notShown')}: `), shown.notShown) : undefined,
      shown.plot ? plot(shown.plot) : undefined,
      shown.table ? table(shown.table) : undefined,
      ...shown.observations.map((/** @type {any} */ observation, /** @type {number} */ index) => {
        const drawn = timeline(observation, { play: play && index === 0 });
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
    shown() {
      if (!results.has(current)) void run(current);
    },
  };
}

/** @param {Record<string, string | number | boolean> | undefined} values */
function facts(values) {
  if (!values) return undefined;
  return el(
    'p',
    { class: 'facts' },
    ...Object.entries(values).map(([name, value]) =>
      el(
        'span',
        { class: 'fact' },
        `${t(/** @type {import('./words.js').Word} */ (`f_${name}`))} ${typeof value === 'boolean' ? t(value ? 'yes' : 'no') : value}`,
      ),
    ),
  );
}

/** @param {{ columns: string[], rows: (string | number)[][] }} data */
function table({ columns, rows }) {
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

/** @param {{ title: string, unit: string, bars: { label: string, value: number }[] }} data */
function plot({ title, unit, bars }) {
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
