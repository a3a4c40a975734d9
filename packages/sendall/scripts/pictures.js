/**
 * Takes the pictures of the console's page in docs/sendall/images, from agents, runs and a console of its own:
 * `npm run build`, then `node packages/sendall/scripts/pictures.js [NAME…]`.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = new URL('../../../', import.meta.url);
const sendall = fileURLToPath(new URL('packages/sendall/bin/sendall.js', root));
const images = fileURLToPath(new URL('docs/sendall/images/', root));
const wanted = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), 'sendall-pictures-'));
const WIDE = { width: 1120, height: 700 };
const NARROW = { width: 390, height: 700 };

/** @param {string} host */
const env = (host) => ({ ...process.env, HOME: folder, SENDALL_HOME: join(folder, host) });

/**
 * @param {string} host
 * @param {readonly string[]} words
 */
const call = (host, ...words) =>
  execFileSync(process.execPath, [sendall, ...words], { env: env(host), encoding: 'utf8' });

/**
 * Starts a program of ours and waits for its first lines on this stream.
 * @param {string} host
 * @param {'stdout' | 'stderr'} stream
 * @param {number} lines
 * @param {string[]} words
 */
async function start(host, stream, lines, ...words) {
  mkdirSync(join(folder, host), { recursive: true, mode: 0o700 });
  const child = spawn(process.execPath, [sendall, ...words], { env: env(host), stdio: ['ignore', 'pipe', 'pipe'] });
  /** @type {string[]} */
  const seen = [];
  for await (const line of createInterface({ input: child[stream] })) {
    seen.push(line);
    if (seen.length === lines) break;
  }
  return { child, lines: seen };
}

const HOSTS = ['web1', 'web2', 'web3', 'web4', 'web5', 'web6'];
/** One host answers otherwise than the others. */
const DIFFERS = `printf 'nginx/1.26.2\\nworkers 8\\n'
if mkdir '${folder}/one' 2>/dev/null; then printf 'tls 1.2\\n'; echo 'tls 1.3 is off' >&2; exit 3; fi
printf 'tls 1.3\\n'`;
/** A screen as of a program that watches a machine. */
const SCREEN = String.raw`printf '\033[?1049h\033[H\033[2J'
printf '\033[1mTasks:\033[0m 212 total, \033[32m1 running\033[0m, 211 sleeping, \033[31m0 zombie\033[0m\n'
printf 'cpu [\033[32m||||||||||\033[34m||||\033[0m                          ] 28%%\n'
printf 'mem [\033[33m||||||||||||||||||\033[0m                      ] 46%%\n\n'
printf '\033[7m    PID USER       CPU%%  MEM%%   TIME+  COMMAND           \033[0m\n'
printf '   1042 www-data    7.2   1.4   3:12.40 nginx: worker process\n'
printf '   2210 postgres    4.8  12.0  41:02.11 postgres: checkpointer\n'
printf '   3391 root        0.7   0.2   0:08.75 sendall agent\n'
exec sleep 600`;

/** @typedef {{ name: string, viewport: typeof WIDE, scheme: 'light' | 'dark', lang: string, show: (page: import('playwright-core').Page) => Promise<void> }} Picture */

/**
 * @param {string} runId of the fleet run
 * @returns {Picture[]}
 */
const pictures = (runId) => [
  {
    name: 'fleet',
    viewport: WIDE,
    scheme: 'light',
    lang: 'en-GB',
    show: async (page) => {
      await page.evaluate(`location.hash = "#/fleet/${runId}"`);
      await page.locator('.diff-added').first().waitFor();
    },
  },
  {
    name: 'terminal-dark',
    viewport: WIDE,
    scheme: 'dark',
    lang: 'en-GB',
    show: async (page) => {
      await page.evaluate('location.hash = "#/terminal/web1"');
      await page.locator('.btn.primary').click();
      await page.locator('.xterm.focus').waitFor();
      writeFileSync(join(folder, 'screen.sh'), SCREEN);
      await page.keyboard.insertText(`exec sh ${folder}/screen.sh`);
      await page.keyboard.press('Enter');
      await page.getByText('checkpointer').first().waitFor();
    },
  },
  {
    name: 'fleet-narrow-zh',
    viewport: NARROW,
    scheme: 'dark',
    lang: 'zh-CN',
    show: async (page) => {
      await page.evaluate(`location.hash = "#/fleet/${runId}"`);
      await page.locator('.diff-added').first().waitFor();
    },
  },
];

/** @type {import('node:child_process').ChildProcess[]} */
const started = [];
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  for (const host of ['local', ...HOSTS]) {
    const { child, lines } = await start(host, 'stderr', 2, 'agent', '--name', host, '--listen', 'tls://127.0.0.1:0');
    started.push(child);
    const url = lines.map((line) => /^listening (tls:.*)$/.exec(line)?.[1]).find(Boolean);
    if (host === 'local' || url === undefined) continue;
    const { code } = JSON.parse(call(host, 'pair', '--new', '--json'));
    call('local', 'pair', url, '--code', code, '--name', host);
  }
  const targets = HOSTS.join(',');
  const { stdout } = spawnSync(
    process.execPath,
    [sendall, 'run', targets, '--name', 'versions', '--json', '--', 'sh', '-c', DIFFERS],
    { env: env('local'), encoding: 'utf8' },
  );
  const { runId } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  const { child, lines } = await start(
    'local',
    'stdout',
    1,
    'console',
    '--listen',
    '127.0.0.1:0',
    '--no-open',
    '--json',
  );
  started.push(child);
  const { url } = JSON.parse(lines[0]);
  for (const { name, viewport, scheme, lang, show } of pictures(runId)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    const context = await browser.newContext({ viewport, colorScheme: scheme, locale: lang, reducedMotion: 'reduce' });
    const page = await context.newPage();
    await page.goto(url);
    await page.locator('#main h1').first().waitFor();
    await show(page);
    mkdirSync(images, { recursive: true });
    await page.screenshot({ path: join(images, `${name}.png`) });
    await context.close();
  }
} finally {
  await browser.close();
  for (const host of ['local', ...HOSTS]) {
    try {
      call(host, 'agent', 'stop', '--runs');
    } catch {
      // it was not started
    }
  }
  for (const child of started) child.kill('SIGTERM');
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}
