/** How far a run has come. */
import type { Progress } from '../dist/page/protocol.js';
import { el } from './dom.js';
import { currentLanguage, t } from './words.js';

export function progressBar(step?: Progress) {
  const bar = el('progress', { 'aria-label': t('running') });
  const says = el('span', { class: 'busy-says' });
  const element = el('div', { class: 'busy' }, bar, says);
  const update = (now: Progress): void => {
    bar.max = Math.max(1, now.of);
    bar.value = now.done;
    says.textContent = t('stepOf', {
      n: Math.min(now.of, now.done + 1),
      all: now.of,
      what: now.what[currentLanguage()],
    });
  };
  says.textContent = t('running');
  if (step) update(step);
  return { element, update };
}
