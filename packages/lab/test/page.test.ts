/** The page in a real browser, and its access control. */
import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { serveCommands, type CommandEvent } from '@sendall/lab';
import { Program, wirelab, soon } from './programs.js';
import { chromiumOptions } from '../../../test/support/chromium.js';
import { patience, until } from '../../../test/support/waits.js';

let lab: Program;
let url: URL;
let browser: Browser;

beforeAll(async () => {
  lab = wirelab('page');
  url = new URL((await lab.says(/listening (http:\S+)/))[1]!);
  browser = await chromium.launch(chromiumOptions());
});
afterAll(async () => {
  await browser?.close();
  await lab?.[Symbol.asyncDispose]();
});

/** The status of a plain request, with headers that a browser would not let a page set. */
async function status(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<number> {
  const asked = request({ host: '127.0.0.1', port: url.port, path, method, headers: { host: url.host, ...headers } });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  response.resume();
  return response.statusCode!;
}

/** @param alter replaces a message of the lab to the page */
async function open(
  options: BrowserContextOptions = {},
  alter?: (message: { type: string; id?: number }) => object[],
): Promise<Page & AsyncDisposable> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    reducedMotion: 'reduce',
    ...options,
  });
  context.setDefaultTimeout(patience(30_000));
  const page = await context.newPage();
  if (alter)
    await page.routeWebSocket(/socket$/, (socket) => {
      const server = socket.connectToServer();
      server.onMessage((text) => {
        const heard = alter(JSON.parse(String(text)) as { type: string; id?: number });
        for (const message of heard) socket.send(JSON.stringify(message));
      });
    });
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.goto(url.href);
  await page.waitForSelector('#view-workbench .stories');
  return Object.assign(page, {
    async [Symbol.asyncDispose]() {
      await context.close();
      expect(errors).toEqual([]);
    },
  });
}

describe('access to the page', () => {
  it('requires the token in the path of every request', async () => {
    expect(await status(url.pathname)).toBe(200);
    expect(await status(`${url.pathname}app.js`)).toBe(200);
    for (const path of ['/', '/app.js', '/x/', `${url.pathname.slice(0, -2)}/`, `${url.pathname}../app.js`]) {
      expect(await status(path)).toBe(403);
    }
    expect(await status(`${url.pathname}tsconfig.json`)).toBe(404);
  });

  it('requires its exact host name, and its own pages as origin', async () => {
    expect(await status(url.pathname, { host: `localhost:${url.port}` })).toBe(403);
    expect(await status(url.pathname, { host: `evil.example:${url.port}` })).toBe(403);
    expect(await status(url.pathname, { origin: 'http://evil.example' })).toBe(403);
    expect(await status(url.pathname, { origin: url.origin })).toBe(200);
    expect(await status(url.pathname, {}, 'POST')).toBe(403);
  });

  it('the WebSocket needs the token, the host and an origin as well', async () => {
    const attempt = async (path: string, headers: Record<string, string>): Promise<string> => {
      const socket = new WebSocket(`ws://127.0.0.1:${url.port}${path}`, { headers });
      const result = await new Promise<string>((resolve) => {
        socket.on('open', () => resolve('open')).on('error', (error) => resolve(error.message));
      });
      socket.terminate();
      return result;
    };
    expect(await attempt(`${url.pathname}socket`, { origin: url.origin })).toBe('open');
    expect(await attempt(`${url.pathname}socket`, {})).toContain('403');
    expect(await attempt(`${url.pathname}socket`, { origin: 'null' })).toContain('403');
    expect(await attempt('/wrong/socket', { origin: url.origin })).toContain('403');
    expect(await attempt(`${url.pathname}socket`, { origin: url.origin, host: 'evil.example' })).toContain('403');
  });

  it('has another token at each start', async () => {
    await using other = wirelab('page');
    const again = new URL((await other.says(/listening (http:\S+)/))[1]!);
    expect(again.pathname).not.toBe(url.pathname);
    expect(again.hostname).toBe('127.0.0.1');
  });

  it('answers nonsense with an error and stays up', async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${url.port}${url.pathname}socket`, {
      headers: { origin: url.origin },
    });
    await once(socket, 'open');
    const answers: unknown[] = [];
    socket.on('message', (data: Buffer) => answers.push(JSON.parse(data.toString())));
    const nonsense = [
      '{',
      'null',
      '[]',
      '{"id":1,"type":"rm"}',
      '{"id":2,"type":"show","name":"__proto__"}',
      '{"id":3,"type":"experiment","messages":[1]}',
      '{"id":4,"type":"chaos","to":"demo","seed":-1}',
    ];
    for (const each of nonsense) socket.send(each);
    await soon(() => answers.length).toBe(nonsense.length);
    expect(answers.every((answer) => (answer as { type: string }).type === 'error')).toBe(true);
    socket.terminate();
  });
});

/** Everything a page can make a browser send to a port; as text, since the browser runs it. */
const attack = (port: number) => `(async () => {
  const to = 'http://127.0.0.1:${port}/';
  const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const patient = (work) => Promise.race([work.catch(() => {}), later(1500)]);
  await patient(fetch(to, { mode: 'no-cors' }));
  await patient(fetch(to + ';echo\${IFS}run', { mode: 'no-cors' }));
  await patient(fetch(to, { method: 'POST', mode: 'no-cors', body: 'echo run\\n' }));
  await patient(fetch(to, { method: 'id', headers: { 'x-command': 'id' } }));
  await patient(fetch('https://127.0.0.1:${port}/', { mode: 'no-cors' }));
  await patient(new Promise((resolve) => new WebSocket('ws://127.0.0.1:${port}/').addEventListener('close', resolve)));
  const form = document.createElement('form');
  Object.assign(form, { action: to, method: 'post', enctype: 'text/plain', target: 'hidden' });
  const input = document.createElement('input');
  Object.assign(input, { name: 'echo run\\n', value: '' });
  const frame = document.createElement('iframe');
  frame.name = 'hidden';
  form.append(input);
  document.body.append(frame, form);
  form.submit();
  await later(300);
})()`;

describe('the command servers, and a page that tries to use them', () => {
  it.each(['recv', 'length-ready', 'struct-i'])('%s runs nothing that a page can send', async (protocol) => {
    const events: CommandEvent[] = [];
    await using server = await serveCommands({ protocol, onEvent: (event) => events.push(event) });
    const context = await browser.newContext();
    context.setDefaultTimeout(patience(30_000));
    const page = await context.newPage();
    const hostile = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>hostile</title>');
    });
    hostile.listen(0, '127.0.0.1');
    await once(hostile, 'listening');
    await page.goto(`http://127.0.0.1:${(hostile.address() as AddressInfo).port}/`);
    await page.evaluate(attack(server.port));
    const kinds = () => events.map((event) => event.type);
    await soon(() => kinds().filter((kind) => kind === 'refused').length).toBeGreaterThanOrEqual(5);
    await context.close();
    hostile.close();
    expect(kinds()).not.toContain('command');
  });
});

describe('the page', () => {
  it('shows three sends that become one read, and runs again when a control changes', async () => {
    await using page = await open();
    const headline = page.locator('#view-workbench .headline');
    await soon(() => headline.textContent()).toBe('3 sends came out as 1 read and 1 message');
    await page.getByLabel('Framing', { exact: true }).selectOption('u32be');
    await soon(() => headline.textContent()).toBe('3 sends came out as 1 read and 3 messages');
    await soon(() => page.locator('.verdict .good').textContent()).toBe('Every message came out as it was sent.');
    await page.getByRole('button', { name: 'A read that is too small' }).click();
    await soon(() => headline.textContent()).toBe('1 send came out as 3 reads and 3 messages');
    await page.getByRole('button', { name: 'Cut on the way' }).click();
    await soon(() => headline.textContent()).toMatch(/^3 sends came out as ([2-9]|1\d) reads and 3 messages$/);
  });

  it('can be used with the keyboard alone', async () => {
    await using page = await open();
    await page.locator('#tab-workbench').focus();
    await page.keyboard.press('ArrowRight');
    expect(await page.locator('#tab-phenomena').getAttribute('aria-selected')).toBe('true');
    await page.waitForSelector('#view-phenomena .measured');
    await page.keyboard.press('Home');
    expect(await page.locator('#view-workbench').isVisible()).toBe(true);
    await page.locator('#view-workbench').getByLabel('Position').focus();
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowRight');
    expect(await page.locator('#view-workbench').getByLabel('Position').getAttribute('aria-valuetext')).toMatch(
      /^event 1 of \d+: write of 5 bytes/,
    );
    expect(await page.locator('#view-workbench .block.shown').count()).toBe(1);
  });

  it('plays the story step by step where motion is welcome', async () => {
    await using page = await open({ reducedMotion: 'no-preference' });
    await soon(() => page.locator('#view-workbench .block.shown').count()).toBeGreaterThan(0);
    await soon(async () =>
      (await page.locator('#view-workbench .says').textContent())!.match(/event (\d+) of (\d+)/)!.slice(1),
    ).toSatisfy(([now, all]: string[]) => now === all);
  });

  it('draws time downwards: each write above its arrow, each arrow above its read', async () => {
    await using page = await open();
    const headline = page.locator('#view-workbench .headline');
    const breaks = page.locator('#view-workbench .ladder-break');
    // A run that another process comes in between has more reads, or a second long wait: then it is run again.
    await until(async () => {
      await page.getByRole('button', { name: 'Nagle at work' }).click();
      await page.locator('#view-workbench .result:not([aria-busy])').waitFor();
      return / as 2 reads /.test((await headline.textContent())!) && (await breaks.count()) === 1;
    }, 'a run that nothing came in between');
    const middles = (kind: string) =>
      page
        .locator(`#view-workbench .ladder ${kind}`)
        .evaluateAll((found) =>
          found.map((each) => each.getBoundingClientRect()).map(({ top, bottom }) => (top + bottom) / 2),
        );
    const [writes, arrows, reads] = [
      await middles('.rung.writes'),
      await middles('.cargo'),
      await middles('.rung.reads'),
    ];
    expect(writes.length).toBe(3);
    expect(reads.length).toBe(2);
    for (const heights of [writes, arrows, reads]) expect(heights).toEqual(heights.toSorted((a, b) => a - b));
    expect(writes[0]).toBeLessThan(reads[0]!);
    // What Nagle's algorithm waits for is drawn as what it is: the longest time of all.
    const [pause] = await middles('.ladder-break');
    expect(writes[2]).toBeLessThan(pause!);
    expect(pause).toBeLessThan(reads[1]!);
    expect(await breaks.textContent()).toMatch(/^\d+\.\d+ ms(: 9 bytes wait for “ack 5”| without an event)$/);
  });

  it('shows the same bytes over their offsets, as a second view', async () => {
    await using page = await open();
    expect(await page.locator('#view-workbench .lanes').isVisible()).toBe(false);
    await page.locator('#view-workbench').getByRole('button', { name: 'Bytes' }).click();
    expect(await page.locator('#view-workbench .lanes').isVisible()).toBe(true);
    expect(await page.locator('#view-workbench .ladder').isVisible()).toBe(false);
  });

  it('has tab, phenomenon, settings, language and colours in its address', async () => {
    await using page = await open();
    await page.getByLabel('Framing', { exact: true }).selectOption('u32be');
    await page.getByLabel('Colours').selectOption('dark');
    await page.getByLabel('Language').selectOption('zh');
    await page.locator('#tab-phenomena').click();
    await page.locator('[data-name="empty"]').click();
    await soon(() => page.evaluate('location.hash')).toBe('#phenomena/empty?framing=u32be&lang=zh&theme=dark');
    await page.goBack();
    await soon(() => page.locator('[data-name="sticky"]').getAttribute('aria-current')).toBe('true');
    await page.goForward();
    await soon(() => page.locator('[data-name="empty"]').getAttribute('aria-current')).toBe('true');
    await page.reload();
    await page.waitForSelector('#view-phenomena .measured');
    expect(await page.locator('[data-name="empty"]').getAttribute('aria-current')).toBe('true');
    expect(await page.locator('html').getAttribute('lang')).toBe('zh');
    expect(await page.locator('html').getAttribute('data-theme')).toBe('dark');
    await page.locator('#tab-workbench').click();
    expect(await page.locator('#view-workbench .controls select').inputValue()).toBe('u32be');
  });

  it('speaks both languages', async () => {
    await using page = await open();
    await page.getByLabel('Language').selectOption('zh');
    expect(await page.locator('html').getAttribute('lang')).toBe('zh');
    expect(await page.locator('#tab-phenomena').textContent()).toBe('现象');
    await soon(() => page.locator('#view-workbench .headline').textContent()).toBe('3 次发送得到 1 次读取、1 条消息');
  });

  it('inspects a connection, and says first what was seen', async () => {
    await using page = await open();
    await page.locator('#tab-inspect').click();
    const view = page.locator('#view-inspect');
    await view.getByRole('button', { name: 'Start' }).click();
    await page.getByText(/Point your client at 127\.0\.0\.1:\d+/).waitFor();
    await view.getByText('all of them as they were sent').waitFor();
    expect(await view.locator('.headline').textContent()).toMatch(/^\d+ reads carried 12 messages$/);
    expect(await view.locator('.tag.glued').count()).toBeGreaterThan(0);
    expect(await view.locator('.tag.split-tag').count()).toBeGreaterThan(0);
    await view.getByRole('button', { name: 'Send traffic' }).click();
    await soon(() => view.locator('.headline').textContent()).toMatch(/^\d+ reads carried 24 messages$/);
  });

  it('filters what it inspects, pairs requests with answers, and says where a filter is wrong', async () => {
    await using page = await open();
    await page.click('#tab-inspect');
    await page.getByLabel('Requests with their answers').check();
    await page.click('#view-inspect [data-name="start"]');
    const rows = page.locator('#view-inspect .events .event:not([hidden])');
    await page.locator('#view-inspect .event.pair').first().waitFor();
    await page.locator('#view-inspect .event.close').waitFor();
    const filter = page.getByLabel('Filter', { exact: true });
    await filter.fill('from client and text "egon"');
    await soon(() => rows.allInnerTexts()).toEqual([expect.stringContaining('egon')]);
    await filter.fill('from client and size > big');
    await page.getByText('the filter is wrong at character 24').waitFor();
    await filter.fill('is pair');
    await soon(() => rows.count()).toBe(6);
  });

  it('shows bytes before and after faults, and each fault at its byte', async () => {
    await using page = await open();
    await page.locator('#tab-chaos').click();
    const view = page.locator('#view-chaos');
    await view.getByRole('button', { name: 'Start' }).click();
    await view.getByText('all of them as they were sent').waitFor();
    await soon(() => view.locator('.headline').textContent()).toMatch(/^\d+ reads came in, \d+ writes went on$/);
    // 92 bytes each way, in pieces of three; a read before its end ends a piece too.
    expect(await view.locator('.fact').first().textContent()).toMatch(/^[4-6]\d cuts$/);
    await view.getByRole('button', { name: 'Cut off in the middle' }).click();
    await soon(() => view.locator('.struck').first().textContent()).toContain('cut off at byte 60');
    await soon(() => view.locator('.lost').count()).toBeGreaterThan(0);
    await view.getByRole('button', { name: 'A line with errors' }).click();
    await soon(() => view.locator('.flipped').count()).toBeGreaterThan(0);
    await soon(() => page.evaluate('location.hash')).toBe('#chaos?chaos-corrupt=0.02');
    expect(await view.getByLabel('Flip a bit').getAttribute('aria-valuetext')).toBe('1 in 50 bytes');
    await view.getByLabel('Flip a bit').focus();
    await page.keyboard.press('Home');
    expect(await view.getByLabel('Flip a bit').getAttribute('aria-valuetext')).toBe('off');
    await soon(() => view.locator('.flipped').count()).toBe(0);
  });

  it('says how far a long run is', async () => {
    await using page = await open();
    await page.locator('#tab-phenomena').click();
    // What the page said at any time: a step may be over before it is looked for.
    await page.evaluate(`globalThis.said = [];
      new MutationObserver(() => said.push(...[...document.querySelectorAll('.busy-says')].map((each) => each.textContent)))
        .observe(document.querySelector('#view-phenomena'), { subtree: true, childList: true, characterData: true })`);
    await page.locator('[data-name="rtt"]').click();
    await page.getByText(/^At a round trip of 100 ms “ready” costs \d+ ms a message/).waitFor();
    const said = (await page.evaluate('said')) as string[];
    const steps = said.flatMap((text) => /^step (\d) of 8: .*round trip of \d+ ms$/.exec(text)?.[1] ?? []);
    expect([...new Set(steps)]).toEqual(['1', '2', '3', '4', '5', '6', '7', '8']);
  });

  it('shows an invalid message of the lab, and goes on', async () => {
    await using page = await open({}, (message) => {
      if (message.type === 'experiment' && message.id === 2) return [{ ...message, writes: 7 }, { type: 'gossip' }];
      return [message];
    });
    await page.getByRole('button', { name: 'Cut on the way' }).click();
    await soon(() => page.getByRole('alert').textContent()).toBe(
      "the lab's message is not understood: writes must be a list",
    );
    await soon(() => page.locator('#link').textContent()).toBe(
      "the lab's message is not understood: type is not a message that the page knows",
    );
    await page.getByRole('button', { name: 'A read that is too small' }).click();
    await soon(() => page.locator('#view-workbench .headline').textContent()).toBe(
      '1 send came out as 3 reads and 3 messages',
    );
  });
});
