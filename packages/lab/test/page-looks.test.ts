/**
 * How the page looks: each view in both schemes and languages, on a phone, a tablet and a desk. SCREENSHOTS=FOLDER keeps
 * the pictures, and makes them as long as the page.
 */
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import axe from 'axe-core';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { layoutFaults } from './layout-faults.js';
import { wirelab, type Program } from './programs.js';
import { chromiumOptions } from '../../../test/support/chromium.js';
import { patience } from '../../../test/support/waits.js';

const kept = process.env['SCREENSHOTS'];
const folder = kept ?? mkdtempSync(join(tmpdir(), 'lab-pictures-'));
const sizes = [
  { width: 1440, height: 900 },
  { width: 820, height: 1180 },
  { width: 390, height: 844 },
];
const themes = ['light', 'dark'] as const;
const languages = ['en', 'zh'] as const;

let lab: Program;
let browser: Browser;
let page: Page;
let address: string;
const errors: string[] = [];

const place = (path: string, values: Record<string, string> = {}): string =>
  `${address}#${path}?${new URLSearchParams(values).toString()}`;

beforeAll(async () => {
  mkdirSync(folder, { recursive: true });
  lab = wirelab('page');
  address = (await lab.says(/listening (http:\S+)/))[1]!;
  browser = await chromium.launch(chromiumOptions());
  page = await browser.newPage({ reducedMotion: 'reduce', acceptDownloads: true });
  page.setDefaultTimeout(patience(30_000));
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.goto(place('workbench', { lateAck: 'yes' }));
  await page.evaluate(axe.source);
});
afterAll(async () => {
  await browser?.close();
  await lab?.[Symbol.asyncDispose]();
  if (kept === undefined) rmSync(folder, { recursive: true });
  expect(errors).toEqual([]);
});

/** Each view, and what must be there before it is looked at. */
const views: { name: string; path: string; press?: string; until: string }[] = [
  { name: 'workbench', path: 'workbench', until: '#view-workbench .ladder' },
  { name: 'sticky', path: 'phenomena/sticky', until: '#view-phenomena .story:nth-child(4) .ladder' },
  { name: 'ready', path: 'phenomena/ready', until: '#view-phenomena .ladder' },
  { name: 'concurrency', path: 'phenomena/concurrency', until: '#view-phenomena .requests' },
  { name: 'inspect', path: 'inspect', press: '#view-inspect .primary', until: '#view-inspect .good' },
  { name: 'chaos', path: 'chaos', press: '#view-chaos .primary', until: '#view-chaos .good' },
];

interface Axe {
  run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }>;
}

async function violations(): Promise<string[]> {
  return page.evaluate(async () => {
    const { violations } = await (globalThis as unknown as { axe: Axe }).axe.run();
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(' ')}`);
  });
}

describe('the looks of the page', () => {
  it.each(views)('$name: nothing is cut off, too small or on top of another', async ({ name, path, press, until }) => {
    await page.goto(place(path, { lateAck: 'yes' }));
    if (press !== undefined) await page.locator(press).click();
    await page.locator(until).first().waitFor();
    const found: Record<string, string[]> = {};
    for (const size of sizes) {
      await page.setViewportSize(size);
      for (const theme of themes)
        for (const lang of languages) {
          await page.goto(place(path, { lateAck: 'yes', theme, lang }));
          await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
          const picture = `${name}-${size.width}-${theme}-${lang}`;
          await page.screenshot({ path: join(folder, `${picture}.png`), fullPage: kept !== undefined });
          const faults = await page.evaluate(layoutFaults);
          // Colours depend on the scheme alone.
          const isChecked =
            (size.width === 1440 && lang === 'en' && theme === 'light') ||
            (size.width === 390 && lang === 'zh' && theme === 'dark');
          if (isChecked) faults.push(...(await violations()));
          if (faults.length > 0) found[picture] = faults;
        }
    }
    expect(found).toEqual({});
  });

  it('is larger for a projector, by the address', async () => {
    await page.setViewportSize(sizes[0]!);
    for (const text of ['large', 'projector']) {
      await page.goto(place('phenomena/sticky', { text, lang: 'en' }));
      await page.screenshot({ path: join(folder, `sticky-${text}.png`) });
      expect(await page.evaluate(layoutFaults)).toEqual([]);
    }
    const height = (selector: string) => page.locator(selector).evaluate((each) => each.getBoundingClientRect().height);
    const large = await height('#view-phenomena .headline');
    await page.getByLabel('Text').selectOption('normal');
    expect(await height('#view-phenomena .headline')).toBeLessThan(large);
    expect(await page.evaluate('location.hash')).not.toContain('text=');
  });

  it('saves a run as a picture, as JSON and as a capture', async () => {
    await page.setViewportSize(sizes[0]!);
    await page.goto(place('phenomena/sticky', { lang: 'en' }));
    const saved = async (format: string): Promise<string> => {
      const download = page.waitForEvent('download');
      await page.locator(`#view-phenomena [data-export="${format}"]`).click();
      const path = join(folder, (await download).suggestedFilename());
      await (await download).saveAs(path);
      return path;
    };
    const json = await saved('json');
    expect(json).toMatch(/wirelab-sticky\.json$/);
    const run = JSON.parse(await readFile(json, 'utf8')) as { en: { observations: unknown[]; verdict: string } };
    expect(run.en.observations).toHaveLength(4);
    expect(run.en.verdict).toBe(await page.locator('#view-phenomena .headline').textContent());
    const capture = await readFile(await saved('pcap'));
    expect(capture.readUInt32LE(0)).toBe(0xa1b2c3d4);
    expect(capture.includes('hello')).toBe(true);
    const png = await saved('png');
    const bytes = await readFile(png);
    expect(bytes.subarray(1, 4).toString()).toBe('PNG');
    const [width, height] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
    expect(width).toBeGreaterThan(1000);
    expect(height).toBeGreaterThan(500);
    // An empty picture of this size would be much smaller.
    expect(statSync(png).size).toBeGreaterThan(50_000);
  });

  it.each(['inspect', 'chaos'])('saves what passed through the proxy of %s as a capture', async (view) => {
    const page = await freshPage(view);
    const start = page.locator(`#view-${view} [data-name="start"]`);
    await start.click();
    await page.locator(`#view-${view} .good`).waitFor();
    const download = page.waitForEvent('download');
    await page.locator(`#view-${view} [data-export="pcap"]`).click();
    const path = join(folder, (await download).suggestedFilename());
    await (await download).saveAs(path);
    expect(path).toMatch(new RegExp(`wirelab-${view}\\.pcap$`));
    expect((await readFile(path)).includes('hello')).toBe(true);
    const says = page.locator(`#view-${view} .export`).getByText('each read of the proxy');
    await says.waitFor();
    // What is said of a file stays when the proxy stops, and goes when another run begins.
    await start.click();
    await start.and(page.getByText('Start')).waitFor();
    expect(await says.count()).toBe(1);
    await start.click();
    await page.locator(`#view-${view} .good`).waitFor();
    expect(await says.count()).toBe(0);
  });

  it('leaves a filter alone that is being typed while the proxy of inspect stops', async () => {
    const page = await freshPage('inspect');
    const start = page.locator('#view-inspect [data-name="start"]');
    await start.click();
    await page.locator('#view-inspect .good').waitFor();
    const filter = page.locator('#view-inspect [data-name="filter"]');
    await filter.fill('size > ');
    // Without a click, which would move the focus.
    await page.locator('#view-inspect form').evaluate((form) => (form as HTMLFormElement).requestSubmit());
    await start.and(page.getByText('Start')).waitFor();
    await page.keyboard.type('1');
    expect(await filter.evaluate((each) => each === document.activeElement)).toBe(true);
    expect(await filter.inputValue()).toBe('size > 1');
    await page.locator('#view-inspect .event.open').first().waitFor({ state: 'hidden' });
    expect(await page.locator('#view-inspect .event.read:visible').count()).toBeGreaterThan(0);
  });

  it('leaves the table of all events open while the faults of chaos change', async () => {
    const page = await freshPage('chaos');
    await page.locator('#view-chaos [data-name="start"]').click();
    await page.locator('#view-chaos .good').waitFor();
    await page.locator('#view-chaos details summary').click();
    await page.locator('#view-chaos .events').waitFor();
    await page.locator('#view-chaos .good').evaluate((each) => each.setAttribute('data-old', ''));
    await page.getByRole('button', { name: 'Glued together' }).click();
    await page.locator('#view-chaos .good:not([data-old])').waitFor();
    expect(await page.locator('#view-chaos .events').isVisible()).toBe(true);
  });
});

/** A view as it is for a reader who has just come. */
async function freshPage(view: string): Promise<Page> {
  const context = await browser.newContext({ reducedMotion: 'reduce', acceptDownloads: true });
  onTestFinished(() => context.close());
  context.setDefaultTimeout(patience(30_000));
  const page = await context.newPage();
  await page.goto(place(view, { lang: 'en' }));
  return page;
}
