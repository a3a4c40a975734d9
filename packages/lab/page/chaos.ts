/** A proxy that does to bytes what networks do: its faults on one side, the bytes before and after them on the other. */
import type { Answer, Asked } from '../dist/page/protocol.js';
import { bench, chips } from './bench.js';
import { ask, onEvent } from './connection.js';
import { choice } from './controls.js';
import { control, el, field } from './dom.js';
import { beforeAfter, struckAt } from './draw/before-after.js';
import { Flows, sumOf, type ChaosEvent, type Flow } from './draw/flows.js';
import { milliseconds } from './draw/spans.js';
import { exportBar, type ExportBar } from './export.js';
import { faultControls, faultsInPlace, faultsOf, isSame, type Faults } from './fault-controls.js';
import { here, keep } from './place.js';
import { buttons, closed, lead, serverField, summary } from './proxy-view.js';
import { t, type Word } from './words.js';

const MOST_EVENTS = 300;
/** Milliseconds between two drawings while bytes pass. */
const REDRAW_MS = 100;
/** Milliseconds after the last change of a setting. */
const SETTLED_MS = 300;

const USUAL: { readonly to: string; readonly seed: number; readonly faults: Faults } = {
  to: 'demo',
  seed: 42,
  faults: { slice: 3, jitter: 5 },
};

const PRESETS: readonly { readonly word: Word; readonly faults: Faults }[] = [
  { word: 'chaosSlices', faults: USUAL.faults },
  { word: 'chaosGlue', faults: { coalesce: 200 } },
  { word: 'chaosBits', faults: { corrupt: 0.02 } },
  { word: 'chaosStall', faults: { latency: 20, stall: 100 } },
  { word: 'chaosCut', faults: { cutEvery: 60 } },
];

export function chaos(root: HTMLElement) {
  const { values } = here();
  let to = values.get('chaos-to') ?? USUAL.to;
  let seed = seedOf(values.get('seed'));
  let faults = faultsOf(values) ?? USUAL.faults;
  let way = wayOf(values.get('chaos-way'));
  let address: string | undefined;
  let problem: string | undefined;
  let outcome: Answer<'traffic'> | undefined;
  let isSending = false;
  let events: ChaosEvent[] = [];
  let flows = new Flows();
  let running = false;
  let settled: ReturnType<typeof setTimeout> | undefined;
  let redraw: ReturnType<typeof setTimeout> | undefined;
  /** Runs; an answer to an earlier one is not shown. */
  let runs = 0;

  let form = el('form');
  let presets: ReturnType<typeof chips> | undefined;
  const result = el('div', { class: 'result', role: 'region' });
  const head = summary();
  const picture = el('div', { class: 'flows' });
  const shown = el('div', { class: 'outcome' }, head.element, picture);
  let list = el('ol', { class: 'events' });
  let table = el('details');
  let saveAs: ExportBar | undefined;
  let drawnWidth = 0;

  const isDemo = (): boolean => to.trim() === 'demo';

  onEvent((message) => {
    if (message.type !== 'chaos') return;
    events.push(message);
    if (events.length > MOST_EVENTS) {
      events.shift();
      list.firstElementChild?.remove();
    }
    list.append(row(message));
    flows.see(message);
    redraw ??= setTimeout(() => {
      redraw = undefined;
      drawPicture();
    }, REDRAW_MS);
  });

  new ResizeObserver(() => {
    if (Math.abs(picture.clientWidth - drawnWidth) > 1) drawPicture();
  }).observe(picture);

  function changed(): void {
    markPreset();
    keep({
      ...faultsInPlace(faults, USUAL.faults),
      seed: seed === USUAL.seed ? undefined : String(seed),
      'chaos-to': to === USUAL.to ? undefined : to,
      'chaos-way': way === 'both' ? undefined : way,
    });
    clearTimeout(settled);
    if (running) settled = setTimeout(() => void (isDemo() ? start() : change()), SETTLED_MS);
  }

  const asked = (): Asked<'chaos'>['faults'] => (way === 'both' ? faults : { [way]: faults });

  /** Another's connections go on; the faults change under way. */
  async function change(): Promise<void> {
    try {
      await ask('change', { faults: asked() });
      problem = undefined;
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    drawHead();
  }

  /** Starts the proxy, or starts it again with other faults. The lab's own server gets traffic at once. */
  async function start(): Promise<void> {
    const number = ++runs;
    events = [];
    flows = new Flows();
    problem = outcome = undefined;
    saveAs?.clear();
    const wasRunning = running;
    try {
      const started = await ask('chaos', { to, seed, faults: asked() });
      if (number !== runs) return;
      // What the proxy before it did to connections that it ended.
      events = [];
      flows = new Flows();
      ({ address } = started);
      running = true;
    } catch (error) {
      if (number !== runs) return;
      running = false;
      address = undefined;
      problem = error instanceof Error ? error.message : String(error);
    }
    if (running !== wasRunning) drawForm();
    drawEvents();
    if (running && isDemo()) await traffic();
  }

  async function stop(): Promise<void> {
    runs += 1;
    clearTimeout(settled);
    await ask('stop', { view: 'chaos' }).catch(() => {});
    running = false;
    address = undefined;
    drawForm();
    drawEvents();
  }

  async function traffic(): Promise<void> {
    const number = runs;
    isSending = true;
    drawHead();
    try {
      const answer = await ask('traffic', { view: 'chaos' });
      if (number === runs) outcome = answer;
    } catch (error) {
      if (number === runs) problem = error instanceof Error ? error.message : String(error);
    }
    if (number !== runs) return;
    isSending = false;
    drawPicture();
  }

  function drawForm(): void {
    const focused = document.activeElement?.getAttribute('data-name');
    const made = el(
      'form',
      {
        class: 'controls',
        id: 'chaos-settings',
        onsubmit: (event: Event) => {
          event.preventDefault();
          void (running ? stop() : start());
        },
      },
      buttons(to, running, () => void traffic()),
      serverField(to, running, (value) => {
        to = value;
        changed();
      }),
      ...faultControls(faults, (now) => {
        faults = now;
        changed();
      }),
      field(
        t('strike'),
        choice(
          way,
          [
            ['both', t('bothWays')],
            ['up', t('toServer')],
            ['down', t('toClient')],
          ],
          (chosen) => {
            way = wayOf(chosen);
            changed();
          },
        ),
      ),
      field(
        t('seed'),
        el('input', {
          type: 'number',
          min: '0',
          max: '4294967295',
          value: String(seed),
          disabled: running && !isDemo(),
          oninput: (event: Event) => {
            seed = seedOf(control(event).value);
            changed();
          },
        }),
        t('seedHint'),
      ),
    );
    form.replaceWith(made);
    form = made;
    if (focused) (form.querySelector(`[data-name="${focused}"]`) as HTMLElement | null)?.focus();
  }

  function drawHead(): void {
    const sum = sumOf(flows.all);
    head.show({
      headline:
        sum.reads > 0 ? t('chaosHeadline', { r: sum.reads, w: sum.writes }) : t(running ? 'nothingYet' : 'chaosIdle'),
      facts: [
        sum.cuts > 0 ? t('nCuts', { n: sum.cuts }) : undefined,
        sum.joins > 0 ? t('nJoins', { n: sum.joins }) : undefined,
        sum.flips > 0 ? t('nFlips', { n: sum.flips }) : undefined,
        sum.heldMs >= 1 ? t('heldUpTo', { ms: milliseconds(sum.heldMs) }) : undefined,
        sum.lost > 0 ? t('lostBytes', { n: sum.lost }) : undefined,
      ],
      outcome,
      isSending,
      problem,
      address,
    });
  }

  function drawPicture(): void {
    drawHead();
    drawnWidth = picture.clientWidth;
    if (drawnWidth === 0) return;
    const room = drawnWidth - PADDING;
    picture.replaceChildren(...flows.all.filter(hasBytes).map((flow) => beforeAfter(flow, room)));
  }

  /** Of a new run, or of one that has ended: what the reader has opened stays open. */
  function drawEvents(): void {
    list.replaceChildren(...events.map(row));
    drawPicture();
  }

  function drawResult(): void {
    result.setAttribute('aria-label', t('measured'));
    list = el('ol', { class: 'events', tabindex: '0', 'aria-label': t('events') });
    table = el('details', { class: 'as-table', open: table.open }, el('summary', {}, t('allEvents')), list);
    saveAs = exportBar({
      name: 'chaos',
      pcap: 'chaos',
      picture: () => shown,
      data: () => ({ wirelab: 'chaos', settings: { to, seed, faults: asked() }, events, traffic: outcome }),
    });
    result.replaceChildren(shown, table, saveAs.element);
    drawEvents();
  }

  function draw(): void {
    drawForm();
    presets = chips(
      PRESETS.map(({ word }) => t(word)),
      (index) => {
        faults = PRESETS[index]!.faults;
        drawForm();
        changed();
        if (!running) void start();
      },
    );
    root.replaceChildren(el('p', { class: 'intro' }, t('chaosIntro')), presets.element, bench(form, result));
    markPreset();
    drawResult();
  }

  function markPreset(): void {
    presets?.mark(PRESETS.findIndex((preset) => isSame(preset.faults, faults)));
  }

  return { translate: draw, shown: drawPicture };
}

type Way = 'both' | 'up' | 'down';
const wayOf = (text: string | undefined): Way => (text === 'up' || text === 'down' ? text : 'both');

/** Of a flow's card, left and right. */
const PADDING = 36;

const hasBytes = (flow: Flow): boolean => flow.came > 0;

function seedOf(text: string | undefined): number {
  const seed = Number(text ?? USUAL.seed);
  return Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32 ? seed : USUAL.seed;
}

const row = (event: ChaosEvent) => el('li', { class: `event ${event.event}` }, ...lead(event), says(event));

function says(event: ChaosEvent) {
  switch (event.event) {
    case 'open':
      return el('span', {}, t('opened', { n: event.connection, client: event.client }));
    case 'close':
      return closed(event);
    case 'read':
      return el('span', {}, t('readOf', { n: event.length }));
    case 'write':
      return el('span', {}, t('writeOf', { n: event.length }));
    case 'fault':
      return el('span', {}, el('span', { class: 'tag fault' }, t('tagFault')), ` ${struckAt(event)}`);
    case 'end':
      return el('span', {}, t('ended'));
    default:
      return el('span', {}, event.reason);
  }
}
