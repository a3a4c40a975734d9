/** The field for a filter of inspect's events: what does not fit is hidden, and a wrong filter names its place. */
import { FilterError, parseFilter, type Filter, type Filterable } from '../dist/messages/filter.js';
import type { LabEvent } from '../dist/page/protocol.js';
import { control, el, field } from './dom.js';
import { t } from './words.js';

type InspectEvent = Extract<LabEvent, { type: 'inspected' }>;

export interface EventFilter {
  /** Made afresh for each drawing. */
  readonly element: () => HTMLElement;
  readonly fits: (event: InspectEvent) => boolean;
}

/** @param changed is called when another filter holds */
export function eventFilter(changed: () => void): EventFilter {
  let source = '';
  let problem: string | undefined;
  let filter: Filter | undefined;

  const read = (text: string): void => {
    source = text;
    problem = undefined;
    try {
      filter = text.trim() === '' ? undefined : parseFilter(text);
    } catch (error) {
      if (!(error instanceof FilterError)) throw error;
      problem = error.message;
    }
  };

  return {
    element() {
      const wrong = el('p', { class: 'error', role: 'alert' }, problem ?? '');
      const input = el('input', {
        value: source,
        spellcheck: 'false',
        placeholder: 'from client and size > 100',
        'data-name': 'filter',
        oninput: (event: Event) => {
          read(control(event).value);
          wrong.textContent = problem ?? '';
          input.setAttribute('aria-invalid', String(problem !== undefined));
          if (problem === undefined) changed();
        },
      });
      const made = field(t('filter'), input, t('filterHint'));
      made.classList.add('filter');
      made.append(wrong);
      return made;
    },
    fits: (event) => filter === undefined || filter(filterable(event)),
  };
}

/** What a filter sees of an event, as far as the page has it: of each read at most 256 bytes. */
function filterable(event: InspectEvent): Filterable {
  const { atMs } = event;
  switch (event.event) {
    case 'read': {
      const { connection, direction, length, glued, split, partial, messages } = event;
      const contents = split && messages[0] ? [bytesOf(event), bytesOf(messages[0])] : [bytesOf(event)];
      const marks = { glued, split, partial: partial !== undefined };
      return { event: 'read', atMs, connection, direction, size: length, ...marks, contents };
    }
    case 'pair': {
      const { connection, request, answer, tookMs } = event;
      return { event: 'pair', atMs, connection, tookMs, contents: [bytesOf(request), bytesOf(answer)] };
    }
    case 'unanswered':
      return { event: 'unanswered', atMs, connection: event.connection, contents: [bytesOf(event.request)] };
    case 'unasked':
      return { event: 'unasked', atMs, connection: event.connection, contents: [bytesOf(event.answer)] };
    default:
      return {
        event: event.event,
        atMs,
        connection: 'connection' in event ? event.connection : undefined,
        direction: 'direction' in event ? event.direction : undefined,
        contents: [],
      };
  }
}

const encoder = new TextEncoder();

function bytesOf({ text, hex }: { text?: string | undefined; hex?: string | undefined }): Uint8Array {
  return text === undefined
    ? Uint8Array.from(hex?.match(/../g) ?? [], (pair) => parseInt(pair, 16))
    : encoder.encode(text);
}
