/** Takes the pictures of the lab's page in docs/lab/images: `npm run build`, then `node packages/lab/scripts/pictures.js`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { smallPng } from '../../../scripts/small-png.js';

const root = new URL('../../../', import.meta.url);
const images = fileURLToPath(new URL('docs/lab/images/', root));
const DESK = { width: 1200, height: 800 };
/** A story on its own, or two side by side. */
const COLUMN = { width: 860, height: 900 };
const TWO = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };

/**
 * Each picture: its place in the page's address, what to press there, what to wait for, and the part of the page that it
 * shows (without one: the window). In both languages, the Chinese ones end in `-zh`.
 * @type {{ name: string, place: string, values?: Record<string, string>, viewport?: typeof DESK, press?: string[], until: string, of?: string, languages?: string[] }[]}
 */
const pictures = [
  { name: 'workbench', place: 'workbench', viewport: DESK, until: '#view-workbench .ladder' },
  {
    name: 'nagle',
    place: 'workbench',
    values: { lateAck: 'yes' },
    viewport: COLUMN,
    until: '#view-workbench .ladder-break:has-text("9 bytes wait")',
    of: '#view-workbench .outcome',
  },
  {
    name: 'sticky',
    place: 'phenomena/sticky',
    until: '#view-phenomena .ladder-break:has-text("9 bytes wait")',
    of: '#view-phenomena .outcome',
  },
  {
    name: 'ready',
    place: 'phenomena/ready',
    viewport: COLUMN,
    until: '#view-phenomena .story',
    of: '#view-phenomena .outcome',
  },
  { name: 'rtt', place: 'phenomena/rtt', until: '#view-phenomena .story', of: '#view-phenomena .multiples' },
  {
    name: 'concurrency',
    place: 'phenomena/concurrency',
    until: '#view-phenomena .requests',
    of: '#view-phenomena .outcome',
  },
  {
    name: 'loss',
    place: 'phenomena/loss',
    values: { theme: 'dark' },
    viewport: COLUMN,
    until: '#view-phenomena .cargo.again',
    of: '#view-phenomena .story:first-child',
  },
  {
    name: 'inspect',
    place: 'inspect',
    viewport: COLUMN,
    press: ['#view-inspect .primary'],
    until: '#view-inspect .good',
    of: '#view-inspect .outcome',
  },
  {
    name: 'chaos',
    place: 'chaos',
    values: { 'chaos-corrupt': '0.02', 'chaos-slice': '16', 'chaos-jitter': '20', 'chaos-cutevery': '80' },
    press: ['#view-chaos .primary'],
    of: '#view-chaos .outcome',
    until: '#view-chaos .bad',
  },
  {
    name: 'phone',
    place: 'workbench',
    values: { theme: 'dark' },
    viewport: PHONE,
    until: '#view-workbench .ladder',
  },
];

const wanted = process.argv.slice(2);
const lab = spawn(fileURLToPath(new URL('packages/lab/bin/wirelab.js', root)), ['page'], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const [said] = await once(createInterface({ input: lab.stdout }), 'line');
const address = /listening (http:\S+)/.exec(said)?.[1];
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  for (const { name, place, values = {}, viewport = TWO, press = [], until, of } of pictures) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const page = await browser.newPage({ viewport, reducedMotion: 'reduce' });
    const at = (/** @type {string} */ lang) => `${address}#${place}?${new URLSearchParams({ ...values, lang })}`;
    await page.goto(at('en'));
    for (const button of press) await page.locator(button).first().click();
    // What a busy machine does not show at once is tried again.
    for (let tries = 10; ; tries--) {
      const shown = page
        .locator(until)
        .first()
        .waitFor({ timeout: tries > 1 ? 20_000 : 60_000 });
      if (
        await shown.then(
          () => true,
          () => false,
        )
      )
        break;
      if (tries === 0) throw new Error(`${name}: no ${until}`);
      await page.reload();
    }
    for (const lang of ['en', 'zh']) {
      await page.goto(at(lang));
      await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
      const png = of ? await page.locator(of).screenshot() : await page.screenshot();
      writeFileSync(`${images}${name}${lang === 'zh' ? '-zh' : ''}.png`, smallPng(png));
    }
    await page.close();
  }
} finally {
  await browser.close();
  lab.kill('SIGTERM');
}
