/**
 * All views of the console's page, as they look and as they are used without a mouse: in both colour schemes, both
 * languages and three widths. With CONSOLE_PICTURES, a folder, there is a picture of each in it.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../../../test/support/waits.js';
import { furnish, VIEWS, type Furnished } from './furnished.js';
import { goTo, Site, type ConsolePage } from './site.js';

const LANGUAGES = ['en', 'zh'] as const;
const SCHEMES = ['light', 'dark'] as const;
/** A phone, a tablet and a screen on a desk. */
const WINDOWS = [
  [390, 844],
  [820, 1180],
  [1440, 900],
] as const;

let site: Site;
let views: Furnished;
const pictures = process.env.CONSOLE_PICTURES;

beforeAll(async () => {
  if (pictures) mkdirSync(pictures, { recursive: true });
  site = await Site.start(['web1', 'web2']);
  views = await furnish(site);
});
afterAll(async () => {
  await site?.[Symbol.asyncDispose]();
});

async function violations(page: Page): Promise<string[]> {
  return (await page.evaluate(`axe.run().then(({ violations }) =>
    violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html).join(' ').slice(0, 300)))`)) as string[];
}

/** Elements beyond the right edge of the window or of what cuts or scrolls them, and texts smaller than 13 px. */
async function misfits(page: Page): Promise<string[]> {
  return (await page.evaluate(`[...document.querySelectorAll('#app *')].flatMap((element) => {
    const { right, width, height } = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    const name = element.tagName + '.' + element.className;
    if (width < 2 || height < 2 || style.visibility === 'hidden' || element.closest('.sr, svg')) return [];
    let around = element.parentElement;
    while (around !== null && getComputedStyle(around).overflowX === 'visible') around = around.parentElement;
    const isWhole = right <= innerWidth + 1 || (around !== null && around !== document.body && around.id !== 'app');
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== '');
    return [
      ...(isWhole ? [] : [name + ' ends at ' + right]),
      ...(hasText && parseFloat(style.fontSize) < 13 ? [name + ' has ' + style.fontSize] : []),
    ];
  }).slice(0, 5)`)) as string[];
}

/** Where axe looks: each view in both schemes and both languages, at one of the widths. */
const AXE = new Set(['light en 1440', 'dark en 390', 'light zh 820', 'dark zh 1440']);

describe.each(LANGUAGES)('all views in %s', (language) => {
  let page: ConsolePage;
  beforeAll(async () => {
    page = await site.open('hosts', { language, viewport: { width: 1440, height: 900 } });
    await page.evaluate(axe.source);
  });
  afterAll(async () => {
    await page?.[Symbol.asyncDispose]();
  });

  it.each(VIEWS)('%s: axe finds nothing, nothing is cut off, no text is small', async (name) => {
    const { place, until: complete } = views[name];
    await goTo(page, place);
    await page.locator(complete).first().waitFor();
    const found: string[] = [];
    for (const [width, height] of WINDOWS) {
      await page.setViewportSize({ width, height });
      for (const colorScheme of SCHEMES) {
        await page.emulateMedia({ colorScheme });
        const combination = `${colorScheme} ${language} ${width}`;
        if (pictures)
          await page.screenshot({ path: join(pictures, `${name}-${combination.replaceAll(' ', '-')}.png`) });
        if (AXE.has(combination)) found.push(...(await violations(page)).map((what) => `${combination}: ${what}`));
      }
      // What measures its place itself, as a terminal does, follows the window a little later.
      await until(async () => (await misfits(page)).length === 0, 'everything to fit').catch(() => undefined);
      found.push(...(await misfits(page)).map((what) => `${width}: ${what}`));
    }
    await page.setViewportSize({ width: 1440, height: 900 });
    expect(found).toEqual([]);
  });
});

describe('the colours', () => {
  it('are those of the chosen scheme, and without a choice those of the system', async () => {
    await using page = await site.open(views.terminal.place, { colorScheme: 'dark' });
    await page.locator(views.terminal.until).first().waitFor();
    const colours = () =>
      page.evaluate<string>(`['body', '.xterm-scrollable-element'].map((each) =>
        getComputedStyle(document.querySelector(each)).backgroundColor).join(' ')`);
    const [light, dark] = ['rgb(246, 247, 249) rgb(255, 255, 255)', 'rgb(14, 17, 22) rgb(20, 24, 31)'];
    const are = async (expected: string) => {
      let found = '';
      await until(
        async () => (found = await colours()) === expected,
        () => `${expected}, not ${found}`,
      );
    };
    await are(dark);
    const chosen = page.getByLabel('Colours').first();
    await chosen.selectOption('light');
    await are(light);
    await page.emulateMedia({ colorScheme: 'light' });
    await chosen.selectOption('dark');
    await are(dark);
    await chosen.selectOption('auto');
    await are(light);
  });
});

describe('the keyboard alone', () => {
  const focused = (page: Page) => page.evaluate<string>('document.activeElement.textContent.trim()');

  /** Presses Tab until the focus is there. */
  const tabTo = (page: Page, selector: string) =>
    until(async () => {
      await page.keyboard.press('Tab');
      return page.evaluate(`document.activeElement.matches(${JSON.stringify(selector)})`);
    }, `the focus on ${selector}`);

  it('goes through a fleet run, its hosts and its answers', async () => {
    await using page = await site.open();
    await goTo(page, views.fleet.place);
    await page.locator('.answer').first().waitFor();
    await tabTo(page, '.kind-failed');
    await page.keyboard.press('Space');
    await until(async () => (await page.locator('.fleet-hosts .list-row').count()) === 1, 'one host');
    await page.keyboard.press('Space');
    await tabTo(page, '.answer-head .seg button');
    await tabTo(page, '.fleet-hosts [role=row]');
    await page.keyboard.press('End');
    await page.keyboard.press('Enter');
    await until(async () => String(await page.evaluate('location.hash')).startsWith('#/runs/'), 'the run of a host');
  });

  it('asks a policy and reads the log', async () => {
    await using page = await site.open('policy/local');
    await page.locator('.record').first().waitFor();
    await tabTo(page, '#test-user');
    await page.keyboard.type('alice');
    await tabTo(page, '#test-text');
    await page.keyboard.type('/usr/bin/id');
    await tabTo(page, '.rule-test .btn.primary');
    expect(await focused(page)).toBe('Ask');
    await page.keyboard.press('Enter');
    await page.locator('.verdict').waitFor();
  });
});
