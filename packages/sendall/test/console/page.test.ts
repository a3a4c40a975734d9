/// <reference lib="dom" />
/** The console's page in a real browser: hosts, a run from its words to its end, a lost link, both languages, keyboard only. */
import { once } from 'node:events';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { chromium, type Browser, type BrowserContextOptions, type Page, type WebSocketRoute } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { chromiumOptions } from '../../../../test/support/chromium.js';
import { patience, within } from '../../../../test/support/waits.js';
import { keyName } from '../../src/console/messages.js';
import { Machine, type User } from '../cli/support.js';
import { heldPort } from '../dist/held-port.js';
import { pressTwice } from './presses.js';
import { RunningConsole } from './support.js';

/** Compressed bytes of all views in one language, without the terminal and xterm. */
const LARGEST_PAGE = 60_000;
const MANY = 10_000;
const built = fileURLToPath(new URL('../../dist/console/page/', import.meta.url));

let machine: Machine;
let port: string;
let user: User;
let console_: RunningConsole;
let browser: Browser;

beforeAll(async () => {
  machine = await Machine.start();
  port = new URL(machine.url.replace('tls:', 'http:')).port;
  user = machine.pairedUser('web1');
  const folder = join(user.home, 'hosts.d');
  mkdirSync(folder, { mode: 0o700 });
  const hosts = Array.from({ length: MANY }, (_, i) => {
    const number = String(i + 1).padStart(5, '0');
    return `  far${number}: {url: tls://192.0.2.1:7433, tags: {site: ${i % 2 ? 'ams' : 'sin'}}}`;
  });
  writeFileSync(join(folder, 'many.yaml'), `hosts:\n${hosts.join('\n')}\n`, { mode: 0o600 });
  console_ = await RunningConsole.start(user);
  browser = await chromium.launch(chromiumOptions());
});
afterAll(async () => {
  await browser?.close();
  await console_?.[Symbol.asyncDispose]();
  user?.[Symbol.dispose]();
  await machine?.[Symbol.asyncDispose]();
});

/** A page with the key; it must have reported no error when it is closed. */
async function open(
  place = '',
  options: BrowserContextOptions = {},
): Promise<Page & AsyncDisposable & { cut(): Promise<void>; mend(): void }> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    reducedMotion: 'reduce',
    locale: 'en-US',
    ...options,
  });
  context.setDefaultTimeout(patience(30_000));
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  let feed: WebSocketRoute | undefined;
  let isCut = false;
  await page.routeWebSocket(/feed$/, (socket) => {
    if (isCut) return void socket.close();
    feed = socket;
    const server = socket.connectToServer();
    socket.onMessage((message) => server.send(message));
    server.onMessage((message) => socket.send(message));
    return undefined;
  });
  await page.goto(`${console_.origin}/#${console_.token}`);
  await page.locator('.list-row').first().waitFor();
  if (place !== '') await page.evaluate((hash) => void (location.hash = hash), place);
  return Object.assign(page, {
    /** Cuts the page's feed, and each new one until it is mended. */
    cut: async () => {
      isCut = true;
      await feed!.close();
    },
    mend: () => void (isCut = false),
    async [Symbol.asyncDispose]() {
      await context.close();
      expect(errors).toEqual([]);
    },
  });
}

/** Writes the words of a new run on web1 and starts it. */
async function run(page: Page, ...words: string[]): Promise<void> {
  await page.evaluate(() => void (location.hash = '#/run?targets=web1'));
  for (const [i, word] of words.entries()) {
    const box = page.locator('.words textarea').nth(i);
    await box.fill(word);
    if (i + 1 < words.length) await box.press('Enter');
  }
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await page.locator('.out').waitFor();
}
const out = (page: Page) => page.locator('.out');
const row = (page: Page, hasText: RegExp) => page.locator('.out-row').filter({ hasText });
/** The numbers behind this word in the rows in sight. */
const numbers = async (page: Page, word: string): Promise<number[]> => {
  const rows = await page.locator('.out-row').allTextContents();
  return rows.flatMap((text) => new RegExp(`${word} (\\d+)$`).exec(text)?.[1] ?? []).map(Number);
};
/** The file of a command that writes what is appended to it: there is no more output than a test wants. */
function ticking(name: string) {
  const file = join(user.home, name);
  let count = 0;
  const tick = () => appendFileSync(file, `${name} ${++count}\n`);
  tick();
  return { tick, command: ['tail', '-n', '+1', '-f', file] };
}
const state = (page: Page) => page.locator('.run-facts .state');

test('the page has at most 60,000 bytes, compressed, in one language and without the terminal', () => {
  const files = readdirSync(built).filter((name) => name !== 'terminal-view.js');
  const size = new Map(files.map((name) => [name, gzipSync(readFileSync(built + name), { level: 9 }).length]));
  const total = (names: Iterable<string>) => [...names].reduce((sum, name) => sum + size.get(name)!, 0);
  /** The script and what it imports before it runs. */
  const closure = (name: string, found = new Set<string>()): Set<string> => {
    if (found.has(name)) return found;
    found.add(name);
    const imports = readFileSync(built + name, 'utf8').matchAll(/(?:from|import) ?"\.\/([\w-]+\.js)"/g);
    for (const [, other] of imports) closure(other!, found);
    return found;
  };
  const first = [...closure('app.js'), 'style.css', 'index.html', 'icon.svg'];
  expect(files).toEqual(expect.arrayContaining([...first, 'en.js', 'zh.js']));
  expect(first).not.toContain('en.js');
  for (const [language, other] of [
    ['en', 'zh'],
    ['zh', 'en'],
  ] as const) {
    const all = total(files.filter((name) => name !== `${other}.js`));
    console.log(`compressed bytes in ${language}: first view ${total([...first, `${language}.js`])}, all views ${all}`);
    expect(all).toBeLessThanOrEqual(LARGEST_PAGE);
  }
});

describe('the key', () => {
  test('is out of the address at once, and a reloaded page asks for the link', async () => {
    await using page = await open();
    expect(page.url()).toBe(`${console_.origin}/#/hosts`);
    expect(await page.evaluate(() => JSON.stringify([localStorage, sessionStorage, document.cookie]))).not.toContain(
      console_.token,
    );
    await page.reload();
    await page.getByLabel('Link or key').fill(`${console_.origin}/#${console_.token}`);
    await page.getByRole('button', { name: 'Open' }).click();
    await page.locator('.list-row').first().waitFor();
  });

  test('a wrong one says so and is not tried again', async () => {
    const page = await browser.newPage();
    page.setDefaultTimeout(patience(30_000));
    await page.goto(`${console_.origin}/#wrong`);
    await page.getByText('This key is no longer valid').waitFor();
    await page.close();
  });

  test.each([
    ['welcomes it', () => [{ welcome: {} }]],
    ['repeats its number', (nonce: string) => [{ challenge: { nonce, proof: nonce } }]],
    [
      'has an answer before any proof',
      () => [
        { id: 1, value: {} },
        { sub: 1, event: {} },
      ],
    ],
    ['is not understood', () => ['?']],
  ])('a page that outlives its console tells a program on its port nothing that %s', async (_what, answers) => {
    // No other test gets its port in between.
    const own = await RunningConsole.start(user, ['--listen', `127.0.0.1:${await heldPort()}`]);
    const page = await browser.newPage();
    page.setDefaultTimeout(patience(30_000));
    await page.goto(`${own.origin}/#${own.token}`);
    await page.locator('.list-row').first().waitFor();
    own.process.kill('SIGKILL');
    await within(once(own.process, 'exit'), 'the console to end');
    const heard: string[] = [];
    const other = new WebSocketServer({ host: '127.0.0.1', port: Number(new URL(own.origin).port) });
    try {
      other.on('connection', (socket) =>
        socket.on('message', (data: Buffer) => {
          heard.push(data.toString());
          const { hello } = JSON.parse(data.toString()) as { hello?: { nonce: string } };
          for (const answer of answers(hello?.nonce ?? '')) socket.send(JSON.stringify(answer));
        }),
      );
      await page.getByText('Another program answers at this address').waitFor();
      expect(heard.map((text) => JSON.parse(text) as object)).toEqual([
        { hello: { key: await keyName(own.token), nonce: expect.stringMatching(/^[0-9a-f]{32}$/) } },
      ]);
    } finally {
      await page.close();
      other.close();
      for (const socket of other.clients) socket.terminate();
    }
  });
});

describe('hosts', () => {
  test('ten thousand of them: only rows in sight are in the document, and each says which one it is', async () => {
    await using page = await open();
    await page.getByText('10,002 hosts').waitFor();
    expect(await page.locator('[role=grid]').getAttribute('aria-rowcount')).toBe('10003');
    expect(await page.locator('.list-row').count()).toBeLessThan(60);
    await page.locator('.list-row').first().focus();
    await page.keyboard.press('End');
    const last = page.locator('.list-row:focus');
    await last.filter({ hasText: 'web1' }).getByText('up', { exact: true }).waitFor();
    expect(await last.getAttribute('aria-rowindex')).toBe('10003');
    expect(await last.locator('.c-rtt').textContent()).toMatch(/ms$/);
  });

  test('the filter takes node-set words, completes them, and answers each key', async () => {
    await using page = await open();
    const filter = page.getByRole('combobox', { name: 'Filter hosts' });
    await filter.fill('far[00001-00020]!far00007');
    await page.getByText('19 of 10,002 hosts').waitFor();
    await filter.fill('far[00001-00020]&@am');
    await page.getByRole('option', { name: '@ams' }).waitFor();
    await page.keyboard.press('Tab');
    expect(await filter.inputValue()).toBe('far[00001-00020]&@ams');
    await page.getByText('10 of 10,002 hosts').waitFor();
    await filter.fill('far[');
    await page.getByText(/"\[" is not closed/).waitFor();
    await filter.fill('');
    const times = await page.evaluate(async () => {
      const field = document.querySelector<HTMLInputElement>('[data-filter]')!;
      const rows = document.querySelector('.list-body')!;
      const took: { readonly work: number; readonly shown: number }[] = [];
      let changes = 0;
      new MutationObserver(() => changes++).observe(rows, { attributes: true, childList: true });
      for (const key of 'far[00001-00900]!far00007,site=ams') {
        field.value += key;
        const before = performance.now();
        field.dispatchEvent(new InputEvent('input', { bubbles: true }));
        // The view is drawn in the microtasks that follow, and laid out.
        for (let i = 0; i < 20; i++) await Promise.resolve();
        document.body.getBoundingClientRect();
        const work = performance.now() - before;
        await new Promise(requestAnimationFrame);
        document.body.getBoundingClientRect();
        took.push({ work, shown: performance.now() - before });
      }
      return { took, changes };
    });
    expect(times.changes).toBeGreaterThan(0);
    const at = (kind: 'work' | 'shown', share: number) => {
      const sorted = times.took.map((each) => each[kind]).sort((a, b) => a - b);
      return sorted[Math.floor((sorted.length - 1) * share)]!.toFixed(1);
    };
    console.log(
      `a key in the filter of ${MANY} hosts: median ${at('work', 0.5)} ms, longest ${at('work', 1)} ms; ` +
        `with the wait for a frame ${at('shown', 0.5)} and ${at('shown', 1)} ms`,
    );
  });
});

describe('a run', () => {
  test('words reach the program as they are; its output, its end and its streams are there', async () => {
    await using page = await open();
    await page.evaluate(() => void (location.hash = '#/run?targets=web1'));
    await page.getByText('One host').waitFor();
    await page.locator('.words textarea').fill('printf');
    await page.locator('.words textarea').press('Enter');
    const second = page.locator('.words textarea').nth(1);
    await second.evaluate((box: HTMLTextAreaElement) => {
      const data = new DataTransfer();
      data.setData('text/plain', '%s\\n');
      box.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }));
      document.execCommand('insertText', false, '<%s>\\n');
    });
    await second.press('Enter');
    const third = page.locator('.words textarea').nth(2);
    await third.evaluate(() => document.execCommand('insertText', false, 'a b'));
    await page.getByRole('button', { name: 'Split at blanks' }).waitFor();
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.getByText('owner: no rule is asked').waitFor();
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    await out(page).getByText('<a b>').waitFor();
    await state(page).getByText('ok', { exact: true }).waitFor();
    await expect.poll(() => page.locator('h1').textContent()).toBe("printf '<%s>\\n' 'a b'");
  });

  test('what it writes is text: control characters and direction marks are shown, markup stays text', async () => {
    await using page = await open();
    await run(
      page,
      'sh',
      '-c',
      String.raw`printf '<img src=x onerror=alert(1)>\033[31mred\033[0m\342\200\256end\n'; echo bad >&2`,
    );
    await state(page).getByText('ok', { exact: true }).waitFor();
    const row = page.locator('.out-row').filter({ hasText: 'red' });
    expect(await row.textContent()).toContain(String.raw`<img src=x onerror=alert(1)>^[[31mred^[[0m\u{202e}end`);
    expect(await page.locator('.out img').count()).toBe(0);
    await page.locator('.out-row.err').filter({ hasText: 'bad' }).waitFor();
    await page.getByRole('button', { name: 'stderr', exact: true }).click();
    await row.waitFor({ state: 'detached' });
    expect(await page.locator('.out-row').count()).toBe(1);
  });

  test('another encoding decodes what is there; search finds it; a download has the bytes', async () => {
    await using page = await open();
    await run(page, 'sh', '-c', String.raw`printf '\304\343\272\303 one\ntwo\none\n'`);
    await state(page).getByText('ok', { exact: true }).waitFor();
    await page.getByLabel('Encoding').selectOption('gb18030');
    await out(page).getByText('你好 one').waitFor();
    await page.getByLabel('Search the output').fill('ONE');
    await page.getByText('2 of 2').waitFor();
    await expect.poll(() => page.locator('.out mark').count()).toBe(2);
    const [saved] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download stdout' }).click(),
    ]);
    expect(readFileSync(await saved.path())).toEqual(Buffer.from('c4e3bac3206f6e650a74776f0a6f6e650a', 'hex'));
  });

  test('earlier output comes from the host on demand, and a place in it leads there', async () => {
    await using page = await open();
    await run(page, 'seq', '-f', 'line %010.0f', '200000');
    await state(page).getByText('ok', { exact: true }).waitFor();
    await out(page).getByText('line 0000200000').waitFor();
    // A page that was in time for the first byte has it all; one that comes to the ended run begins near its end.
    await page.evaluate(() => void (location.hash = '#/hosts'));
    await page.locator('.list-row').first().waitFor();
    await page.goBack();
    await page.getByRole('button', { name: 'Load earlier' }).click();
    await page.getByLabel('Go to').fill('16');
    await page.getByLabel('Go to').press('Enter');
    await out(page).getByText('line 0000000002').waitFor();
    await page.getByLabel('Go to').fill('50%');
    await page.getByLabel('Go to').press('Enter');
    await out(page).getByText('line 0000100003').waitFor();
    await page.getByRole('button', { name: /^Follow/ }).click();
    await out(page).getByText('line 0000200000').waitFor();
  });

  test('the link is cut: it says so, and the output goes on at the next byte; a kill asks twice and reports', async () => {
    await using page = await open();
    const { tick, command } = ticking('tick');
    await run(page, ...command);
    await row(page, /tick 1$/).waitFor();
    await machine.killAgent();
    await page.getByText('The link to web1 is lost').waitFor();
    tick();
    tick();
    await machine.startAgent('--listen', `tls://127.0.0.1:${port}`);
    await page.locator('.out-row.note').getByText('Link resumed').waitFor();
    tick();
    await row(page, /tick 4$/).waitFor();
    expect(await numbers(page, 'tick')).toEqual([1, 2, 3, 4]);

    await page.getByRole('button', { name: 'Kill …' }).click();
    await pressTwice({
      ask: page.getByRole('dialog').getByRole('button', { name: 'Kill', exact: true }),
      sure: page.getByRole('button', { name: 'Yes, kill it' }),
      acted: page.getByText(/done; \d+ process/),
    });
    await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click();
    await state(page).getByText('cancelled').waitFor();
  });

  test('fast output: the page keeps its tail, and a key is answered', async () => {
    await using page = await open();
    await run(
      page,
      'sh',
      '-c',
      'yes 0123456789012345678901234567890123456789012345678901234567890 | head -c 400000000',
    );
    await out(page).getByText('0123456789').first().waitFor();
    const times = await page.evaluate(async () => {
      const field = document.querySelector<HTMLInputElement>('.scrub form input')!;
      const took: number[] = [];
      for (let i = 0; i < 40; i++) {
        await new Promise((resolve) => setTimeout(resolve, 25));
        const before = performance.now();
        // A task like that of a key, and the frame that shows it.
        await new Promise<void>((resolve) => {
          const { port1, port2 } = new MessageChannel();
          port1.addEventListener('message', () => resolve());
          port1.start();
          port2.postMessage(0);
        });
        field.value = String(i);
        field.dispatchEvent(new InputEvent('input', { bubbles: true }));
        await new Promise(requestAnimationFrame);
        took.push(performance.now() - before);
      }
      return took.sort((a, b) => a - b);
    });
    const at = (share: number) => times[Math.floor((times.length - 1) * share)]!.toFixed(1);
    console.log(`a key during fast output: median ${at(0.5)} ms, longest ${at(1)} ms`);
    expect(await page.locator('.out-row').count()).toBeLessThan(100);
  });
});

describe('runs', () => {
  test('the list has what was started here, and a filter; Enter opens a run', async () => {
    await using page = await open('#/runs');
    await run(page, 'echo', 'a-word-of-its-own');
    await state(page).getByText('ok', { exact: true }).waitFor();
    await page.keyboard.press('r');
    await page.getByLabel('Filter runs').fill('a-word-of-its-own');
    const row = page.locator('.list-row').filter({ hasText: 'a-word-of-its-own' });
    await page.getByRole('combobox', { name: 'On hosts' }).fill('web1');
    await row.waitFor();
    await row.focus();
    await page.keyboard.press('Enter');
    await out(page).getByText('a-word-of-its-own').waitFor();
  });
});

test('a run that goes on begins with what it wrote before', async () => {
  const { runId } = user.events([
    'run',
    '--detach',
    '--json',
    'web1',
    '--',
    'sh',
    '-c',
    'seq 30; exec sleep 1000',
  ])[0] as {
    runId: string;
  };
  await using page = await open(`#/runs/web1/${runId}`);
  await row(page, /^1$/).waitFor();
  await row(page, /^30$/).waitFor();
  user.call(['kill', runId]);
});

describe('both languages', () => {
  test('every view is in Chinese once it is chosen, and the choice is kept', async () => {
    await using page = await open();
    await page.getByLabel('Language').selectOption('zh');
    await page.locator('h1', { hasText: '主机' }).waitFor();
    expect(await page.evaluate(() => document.documentElement.lang)).toBe('zh-CN');
    for (const [place, title] of [
      ['#/runs', '运行'],
      ['#/run', '新的运行'],
    ] as const) {
      await page.evaluate((hash) => void (location.hash = hash), place);
      await page.locator('h1', { hasText: title }).waitFor();
    }
    // Of our own texts only names of things are in Latin letters.
    const words = await page.locator('.shell').innerText();
    expect(
      words
        .match(/[A-Za-z]{4,}/g)
        ?.filter((word) => !/sendall|console|English|Enter|Backspace|shell|Shell|group|role|local/.test(word)),
    ).toEqual([]);
    await page.getByLabel('语言').selectOption('en');
    await page.locator('h1', { hasText: 'New run' }).waitFor();
  });
});

test('keyboard only: from the skip link to a run and its search', async () => {
  await using page = await open();
  await page.keyboard.press('Tab');
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the content');
  await page.keyboard.press('Enter');
  expect(await page.evaluate(() => document.activeElement?.id)).toBe('main');
  await page.keyboard.press('/');
  await page.keyboard.type('far00042');
  await page.getByText('1 of 10,002 hosts').waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  await page.getByRole('dialog').getByText('to the filter').waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('n');
  await page.locator('h1', { hasText: 'New run' }).waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('web1');
  await page.getByText('One host').waitFor();
  await page.keyboard.press('Escape');
  const box = page.locator('.words textarea').first();
  for (let i = 0; i < 8 && !(await box.evaluate((it) => it === document.activeElement)); i++)
    await page.keyboard.press('Tab');
  await page.keyboard.type('echo');
  await page.keyboard.press('Enter');
  await page.keyboard.type('by keyboard');
  await page.keyboard.press('Control+Enter');
  await out(page).getByText('by keyboard').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('keyboard');
  await page.locator('.out mark').waitFor();
});

test('a lost feed is said and tried again, and each view goes on where it was', async () => {
  await using page = await open();
  const { tick, command } = ticking('beat');
  await run(page, ...command);
  await row(page, /beat 1$/).waitFor();
  await page.cut();
  await page.locator('.banner').getByText('The link to the console is lost').waitFor();
  tick();
  page.mend();
  // It may come back by itself before the button is pressed.
  const isBack = page.locator('.banner').waitFor({ state: 'detached' });
  const pressed = page.getByRole('button', { name: 'Try now' }).click();
  await Promise.race([pressed.catch(() => undefined), isBack]);
  await isBack;
  tick();
  await row(page, /beat 3$/).waitFor();
  expect(await numbers(page, 'beat')).toEqual([1, 2, 3]);
  user.call(['kill', new URL(page.url()).hash.split('/')[3]!]);
  await state(page).getByText('cancelled').waitFor();
});
