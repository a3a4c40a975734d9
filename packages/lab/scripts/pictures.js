/** Takes the pictures of the lab's page in docs/lab/images: `npm run build`, then `node packages/lab/scripts/pictures.js`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = new URL('../../../', import.meta.url);
const images = fileURLToPath(new URL('docs/lab/images/', root));
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 390, height: 844 };

/**
 * Each picture: its place in the page's address, what to press there, and what to wait for.
 * @type {{ name: string, place: string, viewport?: typeof WIDE, theme?: string, press?: string[], until: string }[]}
 */
const pictures = [
  { name: 'workbench', place: 'workbench', until: '#view-workbench .ladder' },
  {
    name: 'nagle-dark',
    place: 'workbench?lateAck=yes&theme=dark',
    until: '#view-workbench .ladder-break',
  },
  { name: 'rtt-dark', place: 'phenomena/rtt?theme=dark', until: '#view-phenomena .ladder' },
  { name: 'ready', place: 'phenomena/ready', until: '#view-phenomena .ladder' },
  { name: 'concurrency', place: 'phenomena/concurrency', until: '#view-phenomena .requests' },
  { name: 'loss-zh', place: 'phenomena/loss?lang=zh', until: '#view-phenomena .measured' },
  {
    name: 'narrow-zh-dark',
    place: 'phenomena/sticky?lang=zh&theme=dark',
    viewport: NARROW,
    until: '#view-phenomena .ladder',
  },
  {
    name: 'inspect',
    place: 'inspect',
    press: ['#view-inspect button.primary', '#view-inspect [data-name="traffic"]'],
    until: '#view-inspect .tag.split-tag',
  },
  {
    name: 'chaos-zh',
    place: 'chaos?lang=zh',
    press: ['#view-chaos button.primary', '#view-chaos [data-name="traffic"]'],
    until: '#view-chaos .event',
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
  for (const { name, place, viewport = WIDE, press = [], until } of pictures) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const page = await browser.newPage({ viewport, reducedMotion: 'reduce' });
    await page.goto(`${address}#${place}`);
    for (const button of press) await page.locator(button).first().click();
    await page.locator(until).first().waitFor({ timeout: 60_000 });
    await page.screenshot({ path: `${images}${name}.png` });
    await page.close();
  }
} finally {
  await browser.close();
  lab.kill('SIGTERM');
}
