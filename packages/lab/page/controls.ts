/** Controls with a value in words: sliders, and choices from a list. */
import { el, field } from './dom.js';

export interface SliderOptions {
  readonly label: string;
  readonly value: number;
  readonly least: number;
  readonly most: number;
  readonly step?: number;
  /** The value in words, with its unit. */
  readonly say: (value: number) => string;
  readonly change: (value: number) => void;
}

export function slider({ label, value, least, most, step = 1, say, change }: SliderOptions) {
  const shown = el('output', {}, say(value));
  const input = el('input', {
    type: 'range',
    min: String(least),
    max: String(most),
    step: String(step),
    'aria-valuetext': say(value),
    oninput: () => {
      shown.textContent = say(Number(input.value));
      input.setAttribute('aria-valuetext', shown.textContent);
      change(Number(input.value));
    },
  });
  input.value = String(value);
  const made = field(label, input);
  made.querySelector('label')?.append(' ', shown);
  return made;
}

export interface StopsOptions extends Pick<SliderOptions, 'label' | 'say' | 'change'> {
  /** 0: off. */
  readonly value: number;
  /** The values to choose from, ascending. */
  readonly stops: readonly number[];
  /** The word for 0. */
  readonly off: string;
}

/** A slider over chosen values, of which the first is "off". A value that is not among them becomes one. */
export function stopsSlider({ label, value, stops, off, say, change }: StopsOptions) {
  const all = [0, ...new Set([...stops, ...(value > 0 ? [value] : [])])].toSorted((a, b) => a - b);
  const made = slider({
    label,
    value: Math.max(0, all.indexOf(value)),
    least: 0,
    most: all.length - 1,
    say: (index) => (index === 0 ? off : say(all[index]!)),
    change: (index) => {
      made.classList.toggle('is-off', index === 0);
      change(all[index]!);
    },
  });
  made.classList.toggle('is-off', value === 0);
  return made;
}

export function choice(value: string, options: [string, string][], change: (value: string) => void) {
  const select = el(
    'select',
    { onchange: () => change(select.value) },
    ...options.map(([each, label]) => el('option', { value: each }, label)),
  );
  select.value = value;
  return select;
}
