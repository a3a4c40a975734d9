/** Plays the events of a story in proportion to their times, and steps through them. */
import { el } from '../dom.js';
import { t } from '../words.js';

export interface Event {
  readonly atMs: number;
  readonly text: string;
}

/** Milliseconds that a story takes at least and at most, however long it took. */
const SHORTEST = 2500;
const LONGEST = 8000;

/** `go` is called with the number of events that have happened. */
export function player(events: readonly Event[], go: (count: number) => void) {
  const first = events[0]?.atMs ?? 0;
  const lasted = Math.max((events.at(-1)?.atMs ?? 0) - first, 1e-3);
  /** Milliseconds of the story for each millisecond of playing. */
  const speed = lasted / Math.min(LONGEST, Math.max(SHORTEST, lasted));
  let count = events.length;
  let frame: number | undefined;

  const playButton = el(
    'button',
    { type: 'button', class: 'small', onclick: () => (frame === undefined ? start() : pause()) },
    t('play'),
  );
  const slider = el('input', {
    type: 'range',
    min: '0',
    max: String(events.length),
    'aria-label': t('position'),
    oninput: () => (pause(), show(Number(slider.value))),
  });
  const says = el('output', { class: 'says' });
  const step = (label: 'previous' | 'next', sign: string, by: number) =>
    el(
      'button',
      {
        type: 'button',
        class: 'small',
        'aria-label': t(label),
        title: t(label),
        onclick: () => (pause(), show(count + by)),
      },
      sign,
    );

  function show(to: number): void {
    count = Math.max(0, Math.min(events.length, to));
    go(count);
    slider.value = String(count);
    const what = events[count - 1]?.text ?? t('begin');
    says.classList.toggle('at-end', count === events.length);
    says.textContent = t('eventOf', { n: count, all: events.length, what });
    slider.setAttribute('aria-valuetext', says.textContent);
  }

  function start(): void {
    if (count >= events.length) show(0);
    const from = events[count - 1]?.atMs ?? first;
    const begun = performance.now();
    const tick = (): void => {
      const now = from + (performance.now() - begun) * speed;
      let happened = count;
      while (happened < events.length && events[happened]!.atMs <= now) happened++;
      if (happened > count) show(happened);
      if (count >= events.length) pause();
      else frame = requestAnimationFrame(tick);
    };
    frame = requestAnimationFrame(tick);
    playButton.textContent = t('pause');
  }

  function pause(): void {
    if (frame !== undefined) cancelAnimationFrame(frame);
    frame = undefined;
    playButton.textContent = t('play');
  }

  const element = el(
    'div',
    { class: 'player' },
    step('previous', '◀', -1),
    playButton,
    step('next', '▶', 1),
    slider,
    el('span', { class: 'speed' }, speedText(speed)),
    says,
  );
  show(events.length);
  return { element, show, start, stop: pause };
}

function speedText(speed: number): string {
  if (speed > 0.95) return t('realTime');
  const slower = 1 / speed;
  return t('slowed', { n: slower < 10 ? slower.toFixed(1) : String(Math.round(slower)) });
}
