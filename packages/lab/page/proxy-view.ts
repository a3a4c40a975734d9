/** What the views of the two proxies share: the form's server and buttons, and how an event's line begins. */
import type { Answer } from '../dist/page/protocol.js';
import { control, el, field } from './dom.js';
import { progressBar } from './progress.js';
import { currentLanguage, t } from './words.js';

/** The field for the server's address. */
export const serverField = (value: string, running: boolean, change: (to: string) => void) =>
  field(
    t('server'),
    el('input', {
      value,
      disabled: running,
      spellcheck: 'false',
      oninput: (event: Event) => change(control(event).value),
    }),
    t('serverHint'),
  );

/** Start or stop, and traffic for the server that the lab brings along. */
export const buttons = (to: string, running: boolean, traffic: () => void) =>
  el(
    'div',
    { class: 'buttons' },
    el('button', { type: 'submit', class: 'primary', 'data-name': 'start' }, t(running ? 'stop' : 'start')),
    running && to.trim() === 'demo'
      ? el('button', { type: 'button', 'data-name': 'traffic', onclick: traffic }, t('sendTraffic'))
      : undefined,
  );

export const sameTraffic = ({ sent, received }: Answer<'traffic'>): boolean =>
  JSON.stringify(sent) === JSON.stringify(received);

/** The outcome of the traffic that the page sent. */
export function describeTraffic(message: Answer<'traffic'>) {
  const { sent, received, reads, trouble } = message;
  const parts = [
    t('trafficDone', { s: sent.length, r: received.length, reads }),
    t(sameTraffic(message) ? 'trafficSame' : 'trafficDiffers'),
  ];
  if (trouble) parts.push(t('trouble', { what: trouble }));
  return `${parts.join(t('separator'))}${t('fullStop')}`;
}

/** What stands above the bytes: the result in a sentence and some facts, and the state of the proxy. */
export interface Summary {
  readonly headline: string;
  readonly facts: readonly (string | undefined)[];
  readonly outcome: Answer<'traffic'> | undefined;
  readonly isSending: boolean;
  readonly problem: string | undefined;
  readonly address: string | undefined;
}

export function summary() {
  const result = el('div', {});
  // Announced when it changes, unlike the numbers, which change with each read.
  const state = el('div', { role: 'status' });
  let stated = '';
  return {
    element: el('div', { class: 'verdict' }, result, state),
    show({ headline, facts, outcome, isSending, problem, address }: Summary): void {
      const known = facts.filter((fact) => fact !== undefined);
      result.replaceChildren(
        el('p', { class: 'headline' }, headline),
        known.length > 0
          ? el('p', { class: 'facts' }, ...known.map((fact) => el('span', { class: 'fact' }, fact)))
          : '',
      );
      const now = JSON.stringify([outcome, isSending, problem, address, currentLanguage()]);
      if (now === stated) return;
      stated = now;
      state.replaceChildren(
        outcome ? el('p', { class: sameTraffic(outcome) ? 'good' : 'bad' }, describeTraffic(outcome)) : '',
        isSending ? progressBar().element : '',
        problem ? el('p', { class: 'error' }, problem) : '',
        address ? el('p', { class: 'listening' }, t('listening', { address })) : '',
      );
    },
  };
}

/** Time, connection and direction of an event. */
export function lead(event: { atMs: number; connection?: number; direction?: 'up' | 'down' }) {
  const { atMs, connection, direction } = event;
  const words = direction && t(direction === 'up' ? 'toServer' : 'toClient');
  return [
    el('span', { class: 'time' }, `${atMs.toFixed(1)} ms`),
    connection === undefined ? undefined : el('span', { class: 'connection' }, `#${connection}`),
    direction && words
      ? el(
          'span',
          { class: `way ${direction}`, title: words },
          direction === 'up' ? '→' : '←',
          el('span', { class: 'sr' }, words),
        )
      : undefined,
  ];
}

/** A connection's end, with the bytes that it carried. */
export const closed = (event: { connection: number; up: number; down: number; error?: string | undefined }) =>
  el(
    'span',
    {},
    t('closed', { n: event.connection, up: event.up, down: event.down }),
    event.error ? ` (${event.error})` : '',
  );
