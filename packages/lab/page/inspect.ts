/** A proxy that shows which reads carried which messages. */
import type { LabEvent } from '../dist/page/protocol.js';
import { ask, onEvent } from './connection.js';
import { control, el, field } from './dom.js';
import { buttons, closed, describeTraffic, lead, serverField } from './proxy-view.js';
import { content } from './spans.js';
import { t } from './words.js';

const MOST_EVENTS = 300;

type InspectEvent = Extract<LabEvent, { type: 'inspected' }>;
type ReadEvent = Extract<InspectEvent, { event: 'read' }>;

export function inspect(root: HTMLElement) {
  let to = 'demo';
  let framing = 'u32be';
  let framingBack = 'u32be';
  let address: string | undefined;
  let problem: string | undefined;
  let events: InspectEvent[] = [];
  let outcome: string | undefined;
  let running = false;
  let list = el('ol', { class: 'events' });

  onEvent((message) => {
    if (message.type !== 'inspected') return;
    events.push(message);
    if (events.length > MOST_EVENTS) {
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
      ({ address } = await ask('inspect', { to, framing, framingBack }));
      running = true;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    draw();
  }

  async function stop() {
    await ask('stop', { view: 'inspect' }).catch(() => {});
    running = false;
    address = undefined;
    draw();
  }

  async function traffic() {
    try {
      outcome = describeTraffic(await ask('traffic', { view: 'inspect' }));
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
          onsubmit: (event: Event) => {
            event.preventDefault();
            void (running ? stop() : start());
          },
        },
        serverField(to, running, (value) => (to = value)),
        field(
          t('framingUp'),
          el('input', {
            value: framing,
            disabled: running,
            spellcheck: 'false',
            oninput: (event: Event) => (framing = control(event).value),
          }),
          t('framingHint'),
        ),
        field(
          t('framingDown'),
          el('input', {
            value: framingBack,
            disabled: running,
            spellcheck: 'false',
            oninput: (event: Event) => (framingBack = control(event).value),
          }),
        ),
        buttons(to, running, () => void traffic()),
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
    if (focused) (root.querySelector(`[data-name="${focused}"]`) as HTMLElement | null)?.focus();
    list.scrollTop = list.scrollHeight;
  }

  return { translate: draw };
}

const row = (event: InspectEvent) => el('li', { class: `event ${event.event}` }, ...lead(event), ...body(event));

function body(event: InspectEvent): HTMLElement[] {
  switch (event.event) {
    case 'read':
      return readBody(event);
    case 'open':
      return [el('span', {}, t('opened', { n: event.connection, client: event.client }))];
    case 'close':
      return [closed(event)];
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
      return [el('span', {}, event.reason)];
  }
}

function readBody(event: ReadEvent) {
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
        .map((message) =>
          el(
            'span',
            { class: `payload c${message.index % 8}` },
            `${t('message', { n: message.index })}: ${content(message)}`,
          ),
        ),
    ),
  ];
}

/** The read as a ribbon: each message with bytes in it, in its colour, and the incomplete one. */
function ribbon(event: ReadEvent) {
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

function guesses(list: Extract<InspectEvent, { event: 'guess' }>['guesses']) {
  return list
    .map(
      ({ framing, protocol, score }) => `${framing} (${protocol ? `${protocol}, ` : ''}${Math.round(score * 100)} %)`,
    )
    .join(', ');
}
