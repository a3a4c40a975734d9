/** Requests of several clients to one server: a lane for each client, over one time. */
import type { Answer } from '../dist/page/protocol.js';
import { el } from './dom.js';
import { milliseconds } from './spans.js';
import { t } from './words.js';

type Requests = NonNullable<Answer<'show'>['en']['observations'][number]['requests']>;

const COLOURS = 8;

export function requests(all: Requests, title: string) {
  const last = Math.max(1e-3, ...all.map(({ toMs }) => toMs));
  const words = all.map(({ toMs }, i) => `${t('clientNo', { n: i + 1 })} ${milliseconds(toMs)}`).join(', ');
  return el(
    'div',
    { class: 'requests', role: 'img', 'aria-label': `${title}: ${words}` },
    ...all.map(({ fromMs, toMs }, i) =>
      el(
        'div',
        { class: 'request' },
        el('span', { class: 'request-name' }, t('clientNo', { n: i + 1 })),
        el(
          'span',
          { class: 'request-time' },
          el('span', {
            class: `request-bar c${i % COLOURS}`,
            style: { left: `${(fromMs / last) * 100}%`, width: `${((toMs - fromMs) / last) * 100}%` },
          }),
        ),
        el('span', { class: 'request-end' }, milliseconds(toMs)),
      ),
    ),
  );
}
