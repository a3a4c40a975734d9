/**
 * Settings beside their result, so that cause and effect are in sight together. On a phone the settings are a panel at
 * the bottom of the window, which can be folded.
 */
import { choice } from './controls.js';
import { el } from './dom.js';
import { t } from './words.js';

/** Buttons for chosen settings to begin with, of which one may be marked. */
export function chips(words: readonly string[], choose: (index: number) => void) {
  const buttons = words.map((word, index) =>
    el('button', { type: 'button', class: 'chip', onclick: () => choose(index) }, word),
  );
  // On a phone, instead of the buttons.
  const picker = choice(
    '-1',
    [['-1', `${t('presets')} …`], ...words.map((word, i): [string, string] => [`${i}`, word])],
    (index) => {
      if (index !== '-1') choose(Number(index));
    },
  );
  picker.setAttribute('aria-label', t('presets'));
  return {
    element: el('div', { class: 'chips', role: 'group', 'aria-label': t('presets') }, ...buttons, picker),
    focus: (index: number): void => (picker.checkVisibility() ? picker : buttons[index])?.focus(),
    mark: (chosen: number): void => {
      picker.value = String(chosen);
      for (const [index, button] of buttons.entries()) button.setAttribute('aria-pressed', String(index === chosen));
    },
  };
}

let isOpen = true;

export function bench(controls: HTMLElement, result: HTMLElement) {
  controls.id ||= 'settings';
  const fold = el(
    'button',
    { type: 'button', class: 'fold', 'aria-controls': controls.id, onclick: () => show(!isOpen) },
    t('settings'),
  );
  const dock = el('div', { class: 'dock' }, fold, controls);
  function show(open: boolean): void {
    isOpen = open;
    fold.setAttribute('aria-expanded', String(open));
    dock.classList.toggle('folded', !open);
  }
  show(isOpen);
  return el('div', { class: 'bench' }, dock, result);
}
