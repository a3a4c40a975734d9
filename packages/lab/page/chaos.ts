/** A proxy that does to bytes what networks do. */
import type { Asked, LabEvent } from '../dist/page/protocol.js';
import { ask, onEvent } from './connection.js';
import { check, control, el, field } from './dom.js';
import { buttons, closed, describeTraffic, lead, serverField } from './proxy-view.js';
import { currentLanguage, t, type Word } from './words.js';

const MOST_EVENTS = 300;

type ChaosEvent = Extract<LabEvent, { type: 'chaos' }>;

/** A fault with a number. */
interface Knob {
  name: Exclude<keyof Asked<'chaos'>['faults'], 'halfClose'>;
  word: Word;
  unit?: Word;
  most: number;
  step?: number;
}

const KNOBS: Knob[] = [
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

export function chaos(root: HTMLElement) {
  let to = 'demo';
  let seed = 42;
  let halfClose = false;
  const values: Partial<Record<Knob['name'], number>> = { slice: 3, jitter: 5 };
  let address: string | undefined;
  let problem: string | undefined;
  let outcome: string | undefined;
  let faults: readonly { en: string; zh: string }[] = [];
  let events: ChaosEvent[] = [];
  let running = false;
  let list = el('ol', { class: 'events' });

  onEvent((message) => {
    if (message.type !== 'chaos') return;
    events.push(message);
    if (events.length > MOST_EVENTS) {
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
      const started = await ask('chaos', { to, seed, faults: { ...chosen, halfClose } });
      ({ address, faults = [] } = started);
      running = true;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    draw();
  }

  async function stop() {
    await ask('stop', { view: 'chaos' }).catch(() => {});
    running = false;
    address = undefined;
    draw();
  }

  async function traffic() {
    outcome = t('running');
    draw();
    try {
      outcome = describeTraffic(await ask('traffic', { view: 'chaos' }));
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
          onsubmit: (event: Event) => {
            event.preventDefault();
            void (running ? stop() : start());
          },
        },
        el(
          'div',
          { class: 'row' },
          serverField(to, running, (value) => (to = value)),
          field(
            t('seed'),
            el('input', {
              type: 'number',
              min: '0',
              max: '4294967295',
              value: String(seed),
              disabled: running,
              oninput: (event: Event) => (seed = Number(control(event).value)),
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
            ...KNOBS.map(({ name, word, unit, most, step }) =>
              field(
                unit ? `${t(word)} (${t(unit)})` : t(word),
                el('input', {
                  type: 'number',
                  min: '0',
                  max: String(most),
                  step: String(step ?? 1),
                  value: String(values[name] ?? 0),
                  disabled: running,
                  oninput: (event: Event) => (values[name] = Number(control(event).value)),
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
              onchange: (event: Event) => (halfClose = control(event).checked),
            }),
          ),
        ),
        buttons(to, running, () => void traffic()),
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
    if (focused) (root.querySelector(`[data-name="${focused}"]`) as HTMLElement | null)?.focus();
    list.scrollTop = list.scrollHeight;
  }

  return { translate: draw };
}

const row = (event: ChaosEvent) => el('li', { class: `event ${event.event}` }, ...lead(event), says(event));

function says(event: ChaosEvent) {
  switch (event.event) {
    case 'open':
      return el('span', {}, t('opened', { n: event.connection, client: event.client }));
    case 'close':
      return closed(event);
    case 'read':
      return el('span', {}, t('readOf', { n: event.length }));
    case 'fault':
      return el('span', {}, el('span', { class: 'tag fault' }, t('tagFault')), ` ${event.what} @ ${event.afterBytes}`);
    case 'end':
      return el('span', {}, t('ended'));
    default:
      return el('span', {}, event.reason);
  }
}
