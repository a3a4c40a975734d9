// @ts-check
// A proxy that shows which reads carried which messages.
import { ask, onEvent } from './connection.js';
import { el, field } from './dom.js';
import { content } from './timeline.js';
import { t } from './words.js';

const mostEvents = 300;

/** @param {HTMLElement} root */
export function inspect(root) {
  let to = 'demo';
  let framing = 'u32be';
  let framingBack = 'u32be';
  /** @type {string | undefined} */
  let address;
  /** @type {string | undefined} */
  let problem;
  /** @type {import('./connection.js').Message[]} */
  let events = [];
  /** @type {string | undefined} */
  let outcome;
  let running = false;
  let list = el('ol', { class: 'events' });

  onEvent((message) => {
    if (message.type !== 'inspected') return;
    events.push(message);
    if (events.length > mostEvents) {
      events.shift();
      list.firstElementChild?.remove();
    }
    root.querySelector('.waiting')?.remove();
    const following = list.scrollTop + list.clientHeight >= list.scrollHeight - 40;
    list.append(row(message));
    if (following) list.scrollTop = list.scrollHeight;
  });

  async function start() {
    events = [];
    problem = outcome = undefined;
    try {
      const started = await ask({ type: 'inspect', to, framing, framingBack });
      ({ address } = started);
      running = true;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    draw();
  }

  async function stop() {
    await ask({ type: 'stop', view: 'inspect' }).catch(() => {});
    running = false;
    address = undefined;
    draw();
  }

  async function traffic() {
    try {
      outcome = describeTraffic(await ask({ type: 'traffic', view: 'inspect' }));
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    draw();
  }

  function draw() {
    const focused = document.activeElement?.getAttribute('data-name');
    list = el('ol', { class: 'events', tabindex: '0', 'aria-label': t('events') }, ...events.map(row));
    root.replaceChildren(
      el('p', { class: 'intro' }, t('inspectIntro')),
      el(
        'form',
        {
          class: 'controls row',
          onsubmit: (/** @type {Event} */ event) => {
            event.preventDefault();
            void (running ? stop() : start());
          },
        },
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
          t('framingUp'),
          el('input', {
            value: framing,
            disabled: running,
            spellcheck: 'false',
            oninput: (/** @type {any} */ event) => (framing = event.target.value),
          }),
          t('framingHint'),
        ),
        field(
          t('framingDown'),
          el('input', {
            value: framingBack,
            disabled: running,
            spellcheck: 'false',
            oninput: (/** @type {any} */ event) => (framingBack = event.target.value),
          }),
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

/** @param {import('./connection.js').Message} message */
export function describeTraffic(message) {
  const { sent, received, reads, trouble } = message;
  const same = JSON.stringify(sent) === JSON.stringify(received);
  const parts = [
    t('trafficDone', { s: sent.length, r: received.length, reads }),
    t(same ? 'trafficSame' : 'trafficDiffers'),
  ];
  if (trouble) parts.push(t('trouble', { what: trouble }));
  return `${parts.join(t('separator'))}${t('fullStop')}`;
}

/** @param {import('./connection.js').Message} event */
function row(event) {
  const up = event.direction === 'up';
  const time = el('span', { class: 'time' }, `${event.atMs.toFixed(1)} ms`);
  const way = event.direction
    ? el(
        'span',
        { class: `way ${event.direction}`, title: t(up ? 'toServer' : 'toClient') },
        up ? '→' : '←',
        el('span', { class: 'sr' }, t(up ? 'toServer' : 'toClient')),
      )
    : undefined;
  const number =
    event.connection === undefined ? undefined : el('span', { class: 'connection' }, `#${event.connection}`);
  return el('li', { class: `event ${event.event}` }, time, number, way, ...body(event));
}

/** @param {import('./connection.js').Message} event */
function body(event) {
  switch (event.event) {
    case 'read':
      return readBody(event);
    case 'open':
      return [el('span', {}, t('opened', { n: event.connection, client: event.client }))];
    case 'close':
      return [
        el(
          'span',
          {},
          t('closed', { n: event.connection, up: event.up, down: event.down }),
          event.error ? ` (${event.error})` : '',
        ),
      ];
    case 'end':
      return [el('span', {}, t('ended'), event.truncated ? `: ${event.truncated}` : '')];
    case 'misfit':
      return [
        el('strong', { class: 'bad' }, t('misfit', { framing: event.framing, reason: event.reason })),
        event.guesses.length > 0 ? el('span', {}, t('fits', { list: guesses(event.guesses) })) : el('span'),
      ];
    case 'guess':
      return [el('strong', {}, t('guessed', { list: guesses(event.guesses) }))];
    default:
      return [el('span', {}, event.reason ?? event.event)];
  }
}

/** @param {import('./connection.js').Message} event */
function readBody(event) {
  const tags = [];
  if (event.glued) tags.push(el('span', { class: 'tag glued' }, t('tagGlued')));
  if (event.split) tags.push(el('span', { class: 'tag split-tag' }, t('tagSplit')));
  if (event.partial) tags.push(el('span', { class: 'tag partial' }, t('tagPartial')));
  if (tags.length === 0 && event.messages.length === 1) tags.push(el('span', { class: 'tag whole' }, t('tagWhole')));
  const count = event.messages.length;
  const says = `${t('readOf', { n: event.length })}${count === 0 ? '' : `: ${t('nMessages', { n: count })}`}`;
  return [
    el('span', {}, says),
    el('span', { class: 'tags' }, ...tags),
    ribbon(event),
    el(
      'span',
      { class: 'payloads' },
      ...event.messages
        .slice(0, 8)
        .map((/** @type {any} */ message) =>
          el(
            'span',
            { class: `payload c${message.index % 8}` },
            `${t('message', { n: message.index })}: ${content(message)}`,
          ),
        ),
    ),
  ];
}

/**
 * The read as a ribbon: each message that has bytes in it, in its colour, and the one that goes on.
 * @param {import('./connection.js').Message} event
 */
function ribbon(event) {
  const parts = [];
  const end = event.offset + event.length;
  let at = event.offset;
  for (const message of event.messages) {
    const from = Math.max(at, message.start);
    parts.push(
      el('span', {
        class: `cell c${message.index % 8} ${message.start < event.offset ? 'torn-left' : ''}`,
        style: { 'flex-grow': message.end - from },
      }),
    );
    at = message.end;
  }
  if (at < end) {
    const next = (event.messages.at(-1)?.index ?? -1) + 1;
    parts.push(
      el('span', {
        class: `cell ${event.partial ? `c${next % 8}` : 'plain'} torn-right ${event.partial && event.partial.have > end - at ? 'torn-left' : ''}`,
        style: { 'flex-grow': end - at },
      }),
    );
  }
  return el('span', { class: 'ribbon', 'aria-hidden': 'true' }, ...parts);
}

/** @param {{ framing: string, protocol?: string, score: number, messages: number }[]} list */
function guesses(list) {
  return list
    .map(
      ({ framing, protocol, score }) => `${framing} (${protocol ? `${protocol}, ` : ''}${Math.round(score * 100)} %)`,
    )
    .join(', ');
}
