/** A proxy that shows which reads carried which messages. */
import type { Answer, LabEvent } from '../dist/page/protocol.js';
import { ask, onEvent } from './connection.js';
import { check, control, el, field } from './dom.js';
import { eventFilter } from './event-filter.js';
import { exportBar, type ExportBar } from './export.js';
import { buttons, closed, lead, serverField, summary } from './proxy-view.js';
import { content, milliseconds } from './draw/spans.js';
import { t } from './words.js';

const MOST_EVENTS = 300;

type InspectEvent = Extract<LabEvent, { type: 'inspected' }>;
type ReadEvent = Extract<InspectEvent, { event: 'read' }>;

export function inspect(root: HTMLElement) {
  let to = 'demo';
  let framing = 'u32be';
  let framingBack = 'u32be';
  let pairs = false;
  let address: string | undefined;
  let problem: string | undefined;
  let events: InspectEvent[] = [];
  let outcome: Answer<'traffic'> | undefined;
  let isSending = false;
  let running = false;
  let form = el('form');
  let list = el('ol', { class: 'events' });
  let saveAs: ExportBar | undefined;
  /** All that were seen, also those that have left the list. */
  const seen = { reads: 0, messages: 0, glued: 0, split: 0 };
  const head = summary();
  const filter = eventFilter(() => {
    for (const [index, event] of events.entries()) {
      (list.children[index] as HTMLElement | undefined)?.toggleAttribute('hidden', !filter.fits(event));
    }
  });
  const shownRow = (event: InspectEvent): HTMLElement => {
    const made = row(event);
    made.toggleAttribute('hidden', !filter.fits(event));
    return made;
  };

  onEvent((message) => {
    if (message.type !== 'inspected') return;
    events.push(message);
    if (message.event === 'read') {
      seen.reads += 1;
      seen.messages += message.messages.length;
      if (message.glued) seen.glued += 1;
      if (message.split) seen.split += 1;
    }
    if (events.length > MOST_EVENTS) {
      events.shift();
      list.firstElementChild?.remove();
    }
    drawHead();
    const following = list.scrollTop + list.clientHeight >= list.scrollHeight - 40;
    list.append(shownRow(message));
    if (following) list.scrollTop = list.scrollHeight;
  });

  async function start() {
    events = [];
    Object.assign(seen, { reads: 0, messages: 0, glued: 0, split: 0 });
    problem = outcome = undefined;
    list.replaceChildren();
    saveAs?.clear();
    drawHead();
    try {
      ({ address } = await ask('inspect', { to, framing, framingBack, pairs }));
      running = true;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    drawForm();
    drawHead();
    if (running && to.trim() === 'demo') await traffic();
  }

  async function stop() {
    await ask('stop', { view: 'inspect' }).catch(() => {});
    running = false;
    address = undefined;
    drawForm();
    drawHead();
  }

  async function traffic() {
    isSending = true;
    drawHead();
    try {
      outcome = await ask('traffic', { view: 'inspect' });
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    isSending = false;
    drawHead();
  }

  function drawHead() {
    head.show({
      headline:
        seen.reads > 0
          ? t('inspectHeadline', { r: seen.reads, m: seen.messages })
          : t(running ? 'nothingYet' : 'inspectIdle'),
      facts: [
        seen.glued > 0 ? t('nGlued', { n: seen.glued }) : undefined,
        seen.split > 0 ? t('nSplit', { n: seen.split }) : undefined,
      ],
      outcome,
      isSending,
      problem,
      address,
    });
  }

  function drawForm() {
    const focused = document.activeElement?.getAttribute('data-name');
    const made = el(
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
      el(
        'div',
        { class: 'row-end' },
        check(
          t('pairs'),
          el('input', {
            type: 'checkbox',
            checked: pairs,
            disabled: running,
            onchange: (event: Event) => (pairs = control(event).checked),
          }),
        ),
        buttons(to, running, () => void traffic()),
      ),
    );
    const hadFocus = form.contains(document.activeElement);
    form.replaceWith(made);
    form = made;
    if (hadFocus && focused) (form.querySelector(`[data-name="${focused}"]`) as HTMLElement | null)?.focus();
  }

  function draw() {
    drawForm();
    list = el('ol', { class: 'events', tabindex: '0', 'aria-label': t('events') }, ...events.map(shownRow));
    const shown = el('div', { class: 'outcome' }, head.element, list);
    saveAs = exportBar({
      name: 'inspect',
      pcap: 'inspect',
      picture: () => shown,
      data: () => ({ wirelab: 'inspect', settings: { to, framing, framingBack }, events, traffic: outcome }),
    });
    root.replaceChildren(el('p', { class: 'intro' }, t('inspectIntro')), form, filter.element(), shown, saveAs.element);
    drawHead();
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
    case 'pair':
      return [
        el('strong', {}, t('answered', { n: event.request.index, ms: milliseconds(event.tookMs) })),
        el('span', { class: 'payloads' }, payload(event.request), payload(event.answer)),
      ];
    case 'unanswered':
      return [
        el('strong', { class: 'bad' }, t('unanswered', { n: event.request.index, ms: milliseconds(event.waitedMs) })),
        el('span', { class: 'payloads' }, payload(event.request)),
      ];
    case 'unasked':
      return [el('strong', {}, t('unasked')), el('span', { class: 'payloads' }, payload(event.answer))];
    case 'wire':
      return [el('span', {}, `${event.what} ${event.offset}–${event.offset + event.length}`)];
    default:
      return [el('span', {}, event.reason)];
  }
}

type Message = Extract<InspectEvent, { event: 'unasked' }>['answer'];

const payload = (message: Message) => el('span', { class: `payload c${message.index % 8}` }, content(message));

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
