/** Requests of several clients to servers, as small multiples over one time: a lane for each client. */
import type { Answer } from '../../dist/page/protocol.js';
import { el } from '../dom.js';
import { milliseconds } from './spans.js';
import { t } from '../words.js';

type Requests = NonNullable<Answer<'show'>['en']['observations'][number]['requests']>;

const COLOURS = 8;

/** The time that covers all requests, in milliseconds. */
export const lastOf = (all: readonly Requests[]): number => Math.max(1e-3, ...all.flat().map(({ toMs }) => toMs));

/** @param lastMs the end of the axis, the same for pictures side by side */
export function requests(all: Requests, title: string, lastMs: number) {
  const words = all.map(({ toMs }, i) => `${t('clientNo', { n: i + 1 })} ${milliseconds(toMs)}`).join(', ');
  const share = (ms: number): string => `${(ms / lastMs) * 100}%`;
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
            style: { left: share(fromMs), width: share(toMs - fromMs) },
          }),
        ),
        el('span', { class: 'request-end' }, `${Math.round(toMs)} ms`),
      ),
    ),
    el(
      'div',
      { class: 'request axis', 'aria-hidden': 'true' },
      el('span', {}),
      el('span', { class: 'request-axis' }, el('span', {}, '0'), el('span', {}, `${Math.round(lastMs)} ms`)),
      el('span', {}),
    ),
  );
}
