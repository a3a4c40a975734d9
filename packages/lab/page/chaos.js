// @ts-check
// A proxy that does to bytes what networks do.
import { ask, onEvent } from './connection.js';
import { check, el, field } from './dom.js';
import { describeTraffic } from './inspect.js';
import { currentLanguage, t } from './words.js';

const mostEvents = 300;

/** @typedef {{ name: string, word: import('./words.js').Word, unit?: import('./words.js').Word, most: number, step?: number }} Knob */
/** @type {Knob[]} */
const knobs = [
  { name: 'slice', word: 'slice', unit: 'bytes', most: 65_536 },
  { name: 'coalesce', word: 'coalesce', unit: 'ms', most: 5000 },
  { name: 'latency', word: 'latency', unit: 'ms', most: 5000 },
  { name: 'jitter', word: 'jitter', unit: 'ms', most: 5000 },
  { name: 'throttle', word: 'throttle', unit: 'bytesPerSecond', most: 1e9 },
  { name: 'stall', word: 'stall', unit: 'ms', most: 5000 },
  { name: 'corrupt', word: 'corrupt', most: 1, step: 0.001 },
  { name: 'cutEvery', word: 'cutEvery', unit: 'bytes', most: 1e9 },
  { name: 'resetAfter', word: 'resetAfter', unit: 'bytes', most: 1e9 },
];

/** @param {HTMLElement} root */
export function chaos(root) {
  let to = 'demo';
  let seed = 42;
  let halfClose = false;
  /** @type {Record<string, number>} */
  const values = { slice: 3, jitter: 5 };
  /** @type {string | undefined} */
  let address;
  /** @type {string | undefined} */
  let problem;
  /** @type {string | undefined} */
  let outcome;
  /** @type {{ en: string, zh: string }[]} */
  let faults = [];
  /** @type {import('./connection.js').Message[]} */
  let events = [];
  let running = false;
  let list = el('ol', { class: 'events' });

  onEvent((message) => {
    if (message.type !== 'chaos') return;
    events.push(message);
    if (events.length > mostEvents) {
      events.shift();
      list.firstElementChild?.remove();
    }
    root.querySelector('.waiting')?.remove();
    list.append(row(message));
    list.scrollTop = list.scrollHeight;
  });

  async function start() {
    events = [];
    problem = outcome = undefined;
    const chosen = Object.fromEntries(Object.entries(values).filter(([, value]) => value > 0));
    try {
      const started = await ask({ type: 'chaos', to, seed, faults: { ...chosen, halfClose } });
      ({ address, faults } = /** @type {any} */ (started));
      running = true;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    draw();
  }

  async function stop() {
    await ask({ type: 'stop', view: 'chaos' }).catch(() => {});
    running = false;
    address = undefined;
    draw();
  }

  async function traffic() {
    outcome = t('running');
    draw();
    try {
      outcome = describeTraffic(await ask({ type: 'traffic', view: 'chaos' }));
    } catch (error) {
      outcome = undefined;
      problem = error instanceof Error ? error.message : String(error);
    }
    draw();
  }

  function draw() {
    const focused = document.activeElement?.getAttribute('data-name');
    list = el('ol', { class: 'events', tabindex: '0', 'aria-label': t('events') }, ...events.map(row));
    root.replaceChildren(
      el('p', { class: 'intro' }, t('chaosIntro')),
      el(
        'form',
        {
          class: 'controls chaos-form',
          onsubmit: (/** @type {Event} */ event) => {
            event.preventDefault();
            void (running ? stop() : start());
          },
        },
        el(
          'div',
          { class: 'row' },
          field(
            t('server'),
            el('input', {
              value: to,
              disabled: running,
              spellcheck: 'false',
              oninput: (/** @type {any} */ event) => (to = event.target.value),
            }),
            t('serverHint'),
          ),
          field(
            t('seed'),
            el('input', {
              type: 'number',
              min: '0',
              max: '4294967295',
              value: String(seed),
              disabled: running,
              oninput: (/** @type {any} */ event) => (seed = Number(event.target.value)),
            }),
          ),
        ),
        el(
          'fieldset',
          {},
          el('legend', {}, t('faults')),
          el(
            'div',
            { class: 'knobs' },
            ...knobs.map(({ name, word, unit, most, step }) =>
              field(
                unit ? `${t(word)} (${t(unit)})` : t(word),
                el('input', {
                  type: 'number',
                  min: '0',
                  max: String(most),
                  step: String(step ?? 1),
                  value: String(values[name] ?? 0),
                  disabled: running,
                  oninput: (/** @type {any} */ event) => (values[name] = Number(event.target.value)),
                }),
              ),
            ),
          ),
          el('p', { class: 'hint' }, t('off')),
          check(
            t('halfClose'),
            el('input', {
              type: 'checkbox',
              checked: halfClose,
              disabled: running,
              onchange: (/** @type {any} */ event) => (halfClose = event.target.checked),
            }),
          ),
        ),
        el(
          'div',
          { class: 'buttons' },
          el('button', { type: 'submit', class: 'primary', 'data-name': 'start' }, t(running ? 'stop' : 'start')),
          running && to.trim() === 'demo'
            ? el('button', { type: 'button', 'data-name': 'traffic', onclick: () => void traffic() }, t('sendTraffic'))
            : undefined,
        ),
      ),
      el(
        'div',
        { role: 'status', class: 'state' },
        problem ? el('p', { class: 'error' }, problem) : undefined,
        address ? el('p', { class: 'listening' }, t('listening', { address })) : undefined,
        running && faults.length > 0
          ? el(
              'p',
              { class: 'facts' },
              ...faults.map((fault) => el('span', { class: 'fact' }, fault[currentLanguage()])),
            )
          : undefined,
        outcome ? el('p', {}, outcome) : undefined,
      ),
      running && events.length === 0 ? el('p', { class: 'quiet waiting' }, t('nothingYet')) : el('span'),
      list,
    );
    if (focused) /** @type {HTMLElement | null} */ (root.querySelector(`[data-name="${focused}"]`))?.focus();
    list.scrollTop = list.scrollHeight;
  }

  return { translate: draw };
}

/** @param {import('./connection.js').Message} event */
function row(event) {
  const up = event.direction === 'up';
  return el(
    'li',
    { class: `event ${event.event}` },
    el('span', { class: 'time' }, `${event.atMs.toFixed(1)} ms`),
    event.connection === undefined ? undefined : el('span', { class: 'connection' }, `#${event.connection}`),
    event.direction
      ? el(
          'span',
          { class: `way ${event.direction}` },
          up ? '→' : '←',
          el('span', { class: 'sr' }, t(up ? 'toServer' : 'toClient')),
        )
      : undefined,
    says(event),
  );
}

/** @param {import('./connection.js').Message} event */
function says(event) {
  switch (event.event) {
    case 'open':
      return el('span', {}, t('opened', { n: event.connection, client: event.client }));
    case 'close':
      return el(
        'span',
        {},
        t('closed', { n: event.connection, up: event.up, down: event.down }),
        event.error ? ` (${event.error})` : '',
      );
    case 'read':
      return el('span', {}, t('readOf', { n: event.length }));
    case 'fault':
      return el('span', {}, el('span', { class: 'tag fault' }, t('tagFault')), ` ${event.what} @ ${event.afterBytes}`);
    case 'end':
      return el('span', {}, t('ended'));
    default:
      return el('span', {}, event.reason ?? event.event);
  }
}
