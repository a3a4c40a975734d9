/** The faults of a proxy as controls: each with its unit, or off. */
import type { Asked } from '../dist/page/protocol.js';
import { stopsSlider } from './controls.js';
import { check, control, el } from './dom.js';
import { t, type Word } from './words.js';

export type Faults = Omit<Asked<'chaos'>['faults'], 'up' | 'down'>;
type Measured = Exclude<keyof Faults, 'halfClose'>;

/** A fault that has a number. */
interface Dial {
  readonly name: Measured;
  readonly word: Word;
  readonly stops: readonly number[];
  readonly say: (value: number) => string;
}

const bytes = (n: number): string =>
  n < 10_000 ? t('nBytes', { n: n.toLocaleString('en') }) : n < 1e6 ? `${n / 1000} kB` : `${n / 1e6} MB`;
const milliseconds = (n: number): string => `${n} ${t('ms')}`;
const TIMES = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const LENGTHS = [1, 5, 10, 20, 40, 60, 80, 100, 200, 500, 1000, 10_000, 100_000, 1e6];

/** In groups by what they do. */
const groups: readonly { readonly title: Word; readonly dials: readonly Dial[] }[] = [
  {
    title: 'faultsCut',
    dials: [
      {
        name: 'slice',
        word: 'slice',
        stops: [1, 2, 3, 5, 8, 16, 32, 64, 256, 1024, 4096, 16_384, 65_536],
        say: (n) => bytes(n),
      },
      { name: 'coalesce', word: 'coalesce', stops: TIMES, say: milliseconds },
    ],
  },
  {
    title: 'faultsDelay',
    dials: [
      { name: 'latency', word: 'latency', stops: TIMES, say: milliseconds },
      { name: 'jitter', word: 'jitter', stops: TIMES, say: milliseconds },
      { name: 'stall', word: 'stall', stops: TIMES, say: milliseconds },
      {
        name: 'throttle',
        word: 'throttle',
        stops: [100, 200, 500, 1000, 2000, 5000, 10_000, 50_000, 100_000, 1e6, 1e7],
        say: (n) => t('perSecond', { what: bytes(n) }),
      },
    ],
  },
  {
    title: 'faultsDamage',
    dials: [
      {
        name: 'corrupt',
        word: 'corrupt',
        stops: [0.0001, 0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1],
        say: (n) => t('oneIn', { n: Math.round(1 / n).toLocaleString('en') }),
      },
      { name: 'cutEvery', word: 'cutEvery', stops: LENGTHS, say: bytes },
      { name: 'resetAfter', word: 'resetAfter', stops: LENGTHS, say: bytes },
    ],
  },
];

const dials = groups.flatMap((group) => group.dials);

/** @param change the faults as they are now; those that are off are missing */
export function faultControls(faults: Faults, change: (faults: Faults) => void) {
  let now = faults;
  const set = (name: keyof Faults, value: number | boolean): void => {
    const { [name]: _, ...rest } = now;
    now = value ? { ...rest, [name]: value } : rest;
    change(now);
  };
  return groups.map(({ title, dials: own }, index) =>
    el(
      'fieldset',
      {},
      el('legend', {}, t(title)),
      ...own.map(({ name, word, stops, say }) =>
        stopsSlider({
          label: t(word),
          value: faults[name] ?? 0,
          stops,
          off: t('off'),
          say,
          change: (value) => set(name, value),
        }),
      ),
      index === groups.length - 1
        ? check(
            t('halfClose'),
            el('input', {
              type: 'checkbox',
              checked: faults.halfClose ?? false,
              onchange: (event: Event) => set('halfClose', control(event).checked),
            }),
          )
        : undefined,
    ),
  );
}

// ---- in the address

const inPlace = (name: string): string => `chaos-${name.toLowerCase()}`;

/** The faults that an address names; undefined if it names none. */
export function faultsOf(values: ReadonlyMap<string, string>): Faults | undefined {
  if (values.get('chaos') === 'off') return {};
  const faults: Record<string, number | boolean> = {};
  for (const { name, stops } of dials) {
    const value = Number(values.get(inPlace(name)));
    if (value > 0 && value <= stops.at(-1)!) faults[name] = value;
  }
  if (values.get(inPlace('halfClose')) === 'yes') faults['halfClose'] = true;
  return Object.keys(faults).length > 0 ? faults : undefined;
}

/** Values for an address; `usual`: those that are chosen without one. */
export function faultsInPlace(faults: Faults, usual: Faults): Record<string, string | undefined> {
  const isUsual = isSame(faults, usual);
  const all = faultsInPlaceAll(isUsual ? {} : faults);
  return { ...all, chaos: !isUsual && isSame(faults, {}) ? 'off' : undefined };
}

export const isSame = (a: Faults, b: Faults): boolean =>
  JSON.stringify(faultsInPlaceAll(a)) === JSON.stringify(faultsInPlaceAll(b));

const faultsInPlaceAll = (faults: Faults): Record<string, string | undefined> => ({
  ...Object.fromEntries(dials.map(({ name }) => [inPlace(name), faults[name]?.toString()])),
  [inPlace('halfClose')]: faults.halfClose ? 'yes' : undefined,
});
