/** A run as files: the picture on the page as PNG, and the measurements as JSON. Nothing leaves the browser. */
import type { Asked } from '../dist/page/protocol.js';
import { ask } from './connection.js';
import { el, svg } from './dom.js';
import { t } from './words.js';

export interface Exported {
  /** Names the files: `wirelab-NAME.png`. */
  readonly name: string;
  /** What the picture shows. Controls in it are left out. */
  readonly picture: () => HTMLElement;
  readonly data: () => unknown;
  /** The run as a capture, under the lab's name for it. */
  readonly pcap?: Asked<'pcap'>['name'];
}

/** Pixels for a pixel of the page, and of a side at most. */
const SCALE = 2;
const LONGEST_SIDE = 16_000;

/** Not in a picture: what can be pressed, moved or opened. */
const CONTROLS = 'button, input, select, textarea, details, .player, .story-tools, .export, .busy';

export interface ExportBar {
  readonly element: HTMLElement;
  /** Takes back what it says of the last file: another run has begun. */
  clear(): void;
}

export function exportBar({ name, picture, data, pcap }: Exported): ExportBar {
  const says = el('span', { role: 'status' });
  const button = (format: string, make: () => Promise<Blob>) =>
    el(
      'button',
      {
        type: 'button',
        class: 'small',
        'data-export': format,
        onclick: () => {
          says.textContent = '';
          make().then(
            (blob) => save(blob, `wirelab-${name}.${format}`),
            (error: unknown) => (says.textContent = String(error)),
          );
        },
      },
      format.toUpperCase(),
    );
  const element = el(
    'div',
    { class: 'export', role: 'group', 'aria-label': t('exportRun') },
    el('span', {}, t('exportRun')),
    button('png', () => pngOf(picture())),
    button('json', async () => new Blob([`${JSON.stringify(data(), null, 2)}\n`], { type: 'application/json' })),
    pcap ? button('pcap', () => capture(pcap)) : '',
    says,
  );
  return { element, clear: () => (says.textContent = '') };

  async function capture(of: Asked<'pcap'>['name']): Promise<Blob> {
    const { base64, segmentsSeen, cut } = await ask('pcap', { name: of });
    if (!segmentsSeen) says.textContent = t(of === 'inspect' || of === 'chaos' ? 'pcapReads' : 'pcapAssumed');
    if (cut) says.textContent += t('pcapCut');
    return new Blob([Uint8Array.from(atob(base64), (each) => each.charCodeAt(0))], {
      type: 'application/vnd.tcpdump.pcap',
    });
  }
}

function save(blob: Blob, name: string): void {
  const href = URL.createObjectURL(blob);
  el('a', { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

/** Draws an element as an image: a copy of it, with the page's styles, inside an SVG. */
async function pngOf(element: HTMLElement): Promise<Blob> {
  const copy = element.cloneNode(true) as HTMLElement;
  for (const each of copy.querySelectorAll(CONTROLS)) each.remove();
  const stamp = new Date().toLocaleString('sv').slice(0, 16);
  const page = el('div', { class: 'exported' }, copy, el('p', { class: 'stamp' }, `wirelab, ${stamp}`));
  page.style.width = `${element.offsetWidth + 40}px`;
  const aside = el('div', { class: 'aside', 'aria-hidden': 'true' }, page);
  element.ownerDocument.body.append(aside);
  const [width, height] = [page.offsetWidth, page.offsetHeight];
  aside.remove();

  const styles = [...document.styleSheets].flatMap(({ cssRules }) => [...cssRules].map(({ cssText }) => cssText));
  const holder = svg('foreignObject', { width, height }, page);
  const image = svg(
    'svg',
    { width, height, lang: document.documentElement.lang, 'data-theme': themeNow() },
    svg('style', {}, document.createTextNode(styles.join('\n'))),
    holder,
  );
  const scale = Math.min(SCALE, LONGEST_SIDE / Math.max(width, height));
  const loaded = new Image();
  loaded.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(image))}`;
  await loaded.decode();
  const canvas = el('canvas', { width: Math.round(width * scale), height: Math.round(height * scale) });
  canvas.getContext('2d')!.drawImage(loaded, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('the browser draws no picture'))), 'image/png');
  });
}

function themeNow(): string {
  const { theme } = document.documentElement.dataset;
  if (theme === 'light' || theme === 'dark') return theme;
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}
