/** One sender, one receiver, and all their settings. Each change runs the experiment again. */
import { MOST_MESSAGES, type Answer } from '../dist/page/protocol.js';
import { bench, chips } from './bench.js';
import { ask } from './connection.js';
import { choice, slider } from './controls.js';
import { check, control, el, field } from './dom.js';
import { stories } from './draw/stories.js';
import { exportBar } from './export.js';
import { here, keep } from './place.js';
import { t, type Word } from './words.js';

/** The values of the controls. */
interface Settings {
  messages: string;
  noDelay: boolean;
  lateAck: boolean;
  delayMs: number;
  readSize: number;
  framing: string;
  slice: number;
  latency: number;
}

const PLAIN: Settings = {
  messages: 'hello\nworld\negon',
  noDelay: false,
  lateAck: false,
  delayMs: 0,
  readSize: 1024,
  framing: '',
  slice: 0,
  latency: 0,
};

const PRESETS: { word: Word; settings: Partial<Settings> }[] = [
  { word: 'presetSticky', settings: {} },
  { word: 'presetNagle', settings: { lateAck: true } },
  { word: 'presetLeftover', settings: { messages: 'helloworldegon', readSize: 5 } },
  { word: 'presetPrefix', settings: { framing: 'i32le' } },
  { word: 'presetCut', settings: { framing: 'i32le', slice: 3, noDelay: true } },
];

const names = Object.keys(PLAIN) as (keyof Settings)[];
const isSame = (a: Settings, b: Settings): boolean => names.every((name) => a[name] === b[name]);

/** The settings that the address names; those that make no sense are as they are without it. */
function fromPlace(): Settings {
  const { values } = here();
  const settings: Record<string, unknown> = { ...PLAIN };
  for (const name of names) {
    const value = values.get(name);
    if (value === undefined) continue;
    const plain = PLAIN[name];
    if (typeof plain === 'string') settings[name] = value;
    else if (typeof plain === 'boolean') settings[name] = value === 'yes';
    else if (/^\d{1,5}$/.test(value)) settings[name] = Number(value);
  }
  return settings as unknown as Settings;
}

function keepSettings(settings: Settings): void {
  const text = (value: Settings[keyof Settings]): string =>
    typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value);
  keep(
    Object.fromEntries(names.map((name) => [name, settings[name] === PLAIN[name] ? undefined : text(settings[name])])),
  );
}

export function workbench(root: HTMLElement) {
  let settings = fromPlace();
  let chosen = PRESETS.findIndex(({ settings: preset }) => isSame(settings, { ...PLAIN, ...preset }));
  let runs = 0;
  let pending: ReturnType<typeof setTimeout> | undefined;
  let playing: { stop(): void } | undefined;
  let last: Answer<'experiment'> | undefined;
  let result = el('div');

  function set(change: Partial<Settings>) {
    settings = { ...settings, ...change };
    chosen = -1;
    markPreset();
    schedule();
  }

  function schedule() {
    clearTimeout(pending);
    pending = setTimeout(() => void run(), 250);
  }

  async function run() {
    const number = ++runs;
    keepSettings(settings);
    result.setAttribute('aria-busy', 'true');
    const { slice, latency, messages, ...rest } = settings;
    try {
      const message = await ask('experiment', {
        ...rest,
        messages: messages.split('\n').slice(0, MOST_MESSAGES),
        faults: { ...(slice > 0 && { slice }), ...(latency > 0 && { latency }) },
      });
      if (number !== runs) return;
      last = message;
      show(message, true);
    } catch (error) {
      if (number !== runs) return;
      showError(error);
    }
    result.removeAttribute('aria-busy');
  }

  function show(message: Answer<'experiment'>, play: boolean) {
    playing?.stop();
    const drawn = stories([{ trace: message }], { play });
    playing = drawn;
    const shown = el('div', { class: 'outcome' }, verdict(message, settings), drawn.element);
    result.replaceChildren(
      shown,
      exportBar({
        name: 'experiment',
        pcap: 'experiment',
        picture: () => shown,
        data: () => ({ wirelab: 'experiment', settings, ...message }),
      }).element,
    );
  }

  function showError(error: unknown) {
    playing?.stop();
    result.replaceChildren(
      el('p', { class: 'error', role: 'alert' }, error instanceof Error ? error.message : String(error)),
    );
  }

  let presets: ReturnType<typeof chips> | undefined;
  const markPreset = (): void => presets?.mark(chosen);

  function draw() {
    presets = chips(
      PRESETS.map(({ word }) => t(word)),
      (index) => {
        settings = { ...PLAIN, ...PRESETS[index]!.settings };
        chosen = index;
        draw();
        presets?.focus(index);
        void run();
      },
    );
    markPreset();
    const controls = el(
      'form',
      { class: 'controls', id: 'bench-settings', onsubmit: (event: Event) => event.preventDefault() },
      el(
        'fieldset',
        {},
        el('legend', {}, t('sender')),
        field(
          t('messages'),
          el('textarea', {
            rows: '4',
            spellcheck: 'false',
            value: settings.messages,
            oninput: (event: Event) => set({ messages: control(event).value }),
          }),
          t('messagesHint'),
        ),
        slider({
          label: t('delay'),
          value: settings.delayMs,
          least: 0,
          most: 100,
          step: 5,
          say: milliseconds,
          change: (delayMs) => set({ delayMs }),
        }),
        check(
          t('noDelay'),
          el('input', {
            type: 'checkbox',
            checked: settings.noDelay,
            onchange: (event: Event) => set({ noDelay: control(event).checked }),
          }),
        ),
        check(
          t('lateAck'),
          el('input', {
            type: 'checkbox',
            checked: settings.lateAck,
            onchange: (event: Event) => set({ lateAck: control(event).checked }),
          }),
          t('lateAckHint'),
        ),
      ),
      el(
        'fieldset',
        {},
        el('legend', {}, t('path')),
        slider({
          label: t('slice'),
          value: settings.slice,
          least: 0,
          most: 16,
          say: (n) => (n === 0 ? t('sliceOff') : t('nBytes', { n })),
          change: (slice) => set({ slice }),
        }),
        slider({
          label: t('latency'),
          value: settings.latency,
          least: 0,
          most: 200,
          step: 10,
          say: milliseconds,
          change: (latency) => set({ latency }),
        }),
      ),
      el(
        'fieldset',
        {},
        el('legend', {}, t('receiver')),
        slider({
          label: t('readSize'),
          value: Math.log2(settings.readSize),
          least: 0,
          most: 10,
          say: (power) => t('nBytes', { n: 2 ** power }),
          change: (power) => set({ readSize: 2 ** power }),
        }),
        field(
          t('framing'),
          choice(
            settings.framing,
            [
              ['', t('framingNone')],
              ['i32le', t('framingI32')],
              ['u32be', t('framingU32')],
              ['varint', t('framingVarint')],
              ['lines', t('framingLines')],
              ['netstring', t('framingNetstring')],
            ],
            (framing) => set({ framing }),
          ),
        ),
      ),
    );
    const old = result;
    result = el('div', { class: 'result', 'aria-label': t('measured'), role: 'region' }, ...old.childNodes);
    root.replaceChildren(el('p', { class: 'intro' }, t('benchIntro')), presets.element, bench(controls, result));
  }

  return {
    translate() {
      draw();
      if (last) show(last, false);
      else void run();
    },
  };
}

/** The outcome, in a sentence or two. */
function verdict(message: Answer<'experiment'>, settings: Settings) {
  const { writes, reads, messages } = message;
  const ends = new Set(writes.map((write) => write.offset + write.length));
  const glued = reads.some((read) => [...ends].some((end) => end > read.offset && end < read.offset + read.length));
  const split = reads.some((read) => read.length > 0 && !ends.has(read.offset + read.length));
  const sent = settings.messages.split('\n').slice(0, MOST_MESSAGES);
  const same = messages.length === sent.length && messages.every((each, index) => each.text === sent[index]);
  return el(
    'div',
    { class: 'verdict', role: 'status' },
    el('p', { class: 'headline' }, t('summary', { w: writes.length, r: reads.length, m: messages.length })),
    message.error ? el('p', { class: 'bad' }, message.error) : undefined,
    glued ? el('p', {}, t('glued')) : undefined,
    split ? el('p', {}, t('split')) : undefined,
    el('p', { class: same ? 'good' : 'bad' }, same ? t('right') : t('wrong')),
  );
}

const milliseconds = (n: number): string => `${n} ${t('ms')}`;
