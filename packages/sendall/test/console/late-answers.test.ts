/// <reference lib="dom" />
/** What the console's page makes of answers that come late: after something else has been asked, or after a lost feed. */
import { chromium, type Browser, type Page, type WebSocketRoute } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { newRunId } from 'sendall';
import { chromiumOptions } from '../../../../test/support/chromium.js';
import { patience, until } from '../../../../test/support/waits.js';
import { Machine, type User } from '../cli/support.js';
import { RunningConsole, type TestPage } from './support.js';

let machine: Machine;
let user: User;
let console_: RunningConsole;
let caller: TestPage;
let browser: Browser;
beforeAll(async () => {
  machine = await Machine.start();
  user = machine.pairedUser('web1', 'web2');
  console_ = await RunningConsole.start(user);
  caller = await console_.page();
  browser = await chromium.launch(chromiumOptions());
});
afterAll(async () => {
  await browser?.close();
  caller?.[Symbol.dispose]();
  await console_?.[Symbol.asyncDispose]();
  user?.[Symbol.dispose]();
  await machine?.[Symbol.asyncDispose]();
});

type Message = Readonly<Record<string, unknown>>;

/** Messages of the console that the page does not get yet. */
interface Held {
  /** Resolves when there are so many. */
  came(count?: number): Promise<void>;
  /** The page gets them now, and all others at once. */
  release(): void;
}

interface Hooks {
  /** What the page has sent. */
  readonly sent: readonly Message[];
  /** Holds back messages for the page; the text of a frame of output is empty. */
  hold(fits: (text: string) => boolean): Held;
  /** Answers such messages of the page in place of the console; until there is an answer, they wait. */
  answers: ((message: Message) => object | 'later' | undefined) | undefined;
  /** What goes to the page from the console. */
  tell(message: object): void;
  /** Breaks the feed. What is held is lost. */
  cut(): Promise<void>;
}

type TestedPage = Page & AsyncDisposable & Hooks;

async function open(place: string): Promise<TestedPage> {
  const context = await browser.newContext({ locale: 'en-US', reducedMotion: 'reduce' });
  context.setDefaultTimeout(patience(30_000));
  const page = await context.newPage();
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(error.message));
  const sent: Message[] = [];
  const holds = new Set<{ readonly fits: (text: string) => boolean; readonly kept: (string | Buffer)[] }>();
  let feed: WebSocketRoute;
  await page.routeWebSocket(/feed$/, (socket) => {
    feed = socket;
    const server = socket.connectToServer();
    socket.onMessage((text) => {
      const message = JSON.parse(String(text)) as Message;
      sent.push(message);
      const answer = tested.answers?.(message);
      if (answer === undefined) server.send(text);
      else if (answer !== 'later') tested.tell(answer);
    });
    server.onMessage((text) => {
      const hold = [...holds].find(({ fits }) => fits(typeof text === 'string' ? text : ''));
      if (hold) hold.kept.push(text);
      else socket.send(text);
    });
  });
  const tested: TestedPage = Object.assign(page, {
    sent,
    answers: undefined,
    hold(fits: (text: string) => boolean): Held {
      const hold = { fits, kept: [] as (string | Buffer)[] };
      holds.add(hold);
      return {
        came: async (count = 1) => void (await until(() => hold.kept.length >= count, 'an answer to be held')),
        release: () => {
          holds.delete(hold);
          for (const text of hold.kept) feed.send(text);
        },
      };
    },
    tell: (message: object) => feed.send(JSON.stringify(message)),
    cut: async () => {
      holds.clear();
      await feed.close();
    },
    async [Symbol.asyncDispose]() {
      await context.close();
      expect(errors).toEqual([]);
    },
  });
  await page.goto(`${console_.origin}/#${console_.token}`);
  await page.locator('.list-row').first().waitFor();
  await goTo(page, place);
  return tested;
}

const goTo = async (page: Page, place: string): Promise<void> =>
  await page.evaluate((hash) => void (location.hash = hash), `#/${place}`);

describe('a new run', () => {
  test('is not started on hosts whose number is not known yet', async () => {
    await using page = await open('run?targets=web1');
    await page.getByText('One host').waitFor();
    await page.locator('.words textarea').fill('true');
    await page.getByRole('button', { name: 'Run', exact: true }).and(page.locator(':enabled')).waitFor();
    const count = page.hold((text) => text.includes('"folded":"web[1-2]"'));
    const targets = page.getByRole('combobox', { name: 'Targets' });
    await targets.fill('web[1-2]');
    await count.came();
    await targets.press('Enter');
    count.release();
    await page.getByRole('button', { name: 'Run on 2 hosts' }).and(page.locator(':enabled')).waitFor();
    expect(page.sent.filter(({ op }) => op === 'run')).toEqual([]);
  });

  test('is not explained by the answer about another one', async () => {
    await using page = await open('run?targets=web1');
    await page.locator('.words textarea').fill('true');
    const explained = page.hold((text) => text.includes('"batches"'));
    await page.getByRole('button', { name: 'Explain' }).click();
    await explained.came();
    await page.locator('.words textarea').fill('reboot');
    explained.release();
    await page.getByRole('button', { name: 'Explain' }).and(page.locator(':enabled')).waitFor();
    expect(await page.getByText('no rule is asked').count()).toBe(0);
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.getByText('no rule is asked').waitFor();
  });
});

test('the failure of a subscription that was left is no trouble of another view', async () => {
  await using page = await open('hosts');
  const failures = page.hold((text) => /^\{"id":\d+,"error"/.test(text));
  await goTo(page, `runs/web1/${newRunId()}`);
  // Of its output, and of what is asked about it.
  await failures.came(2);
  await goTo(page, 'run?targets=web1');
  await page.getByText('One host').waitFor();
  failures.release();
  // Answered behind the failures.
  await page.getByRole('combobox', { name: 'Targets' }).fill('web[1-2]');
  await page.getByRole('button', { name: 'Run on 2 hosts' }).waitFor();
  expect(await page.locator('.banner').count()).toBe(0);
});

test('a fleet’s answers that were lost with the feed are asked for again', async () => {
  const { runId } = await caller.ask('run', { targets: 'web[1-2]', argv: ['echo', 'the same'] });
  await (await caller.subscribe('fleet', { runId })).over();
  await using page = await open('hosts');
  const answers = page.hold((text) => text.includes('"groups":'));
  await goTo(page, `fleet/${runId}`);
  await answers.came();
  await page.cut();
  await page.locator('.answer').getByText('the same').waitFor();
});

test('a terminal that is taken away while the page takes it is not shown as its own', async () => {
  const { runId } = await caller.ask('run', {
    targets: 'web1',
    argv: ['sh'],
    options: { pty: { cols: 80, rows: 24 }, stdin: 'open', env: { PS1: '$ ' } },
  });
  await using page = await open(`terminal/web1/${runId}`);
  const taken = page.hold((text) => {
    const asked = page.sent.find(({ op }) => op === 'take');
    return asked !== undefined && text === JSON.stringify({ id: asked.id, value: {} });
  });
  await page.getByRole('button', { name: 'Take control' }).click();
  await taken.came();
  const seat = await caller.subscribe('terminal', { host: 'web1', runId, mode: 'control', credit: 1024 * 1024 });
  await page.getByText('Another caller has taken control').first().waitFor();
  taken.release();
  await caller.ask('stdin', { sub: seat.id, text: 'echo be""hind\n' });
  await page.locator('.xterm-rows').getByText('behind').waitFor();
  await page.getByRole('button', { name: 'Take control' }).waitFor();
  seat.unsubscribe();
  await caller.ask('kill', { host: 'web1', runId, grace: 0 });
});

test('a terminal is in control as soon as what is typed counts, and not before', async () => {
  const { runId } = await caller.ask('run', {
    targets: 'web1',
    argv: ['sh'],
    options: { pty: { cols: 80, rows: 24 }, stdin: 'open', env: { PS1: 'ready$ ' } },
  });
  const watcher = await caller.subscribe('terminal', { host: 'web1', runId, credit: 1024 * 1024 });
  await until(() => watcher.text('terminal').includes('ready$ '), 'output from before');
  await using page = await open('hosts');
  const output = page.hold((text) => text === '');
  await goTo(page, `terminal/web1/${runId}?control=1`);
  await output.came();
  // It draws itself again once it has joined in control.
  await until(() => page.sent.some(({ op }) => op === 'resize'), 'the page to have joined');
  await page.locator('.terminal-view').getByText('joining', { exact: true }).waitFor();
  output.release();
  await page.getByText('in control', { exact: true }).waitFor();
  await page.locator('.xterm.focus').waitFor();
  await page.keyboard.insertText('echo ty""ped');
  await page.keyboard.press('Enter');
  await page.locator('.xterm-rows').getByText('typed', { exact: true }).waitFor();
  watcher.unsubscribe();
  await caller.ask('kill', { host: 'web1', runId, grace: 0 });
});

test('earlier output that could not be had once is there to be had later', async () => {
  const { runId } = await caller.ask('run', { targets: 'web1', argv: ['seq', '100000'] });
  await (await caller.subscribe('output', { host: 'web1', runId, credit: 1024 * 1024 })).over();
  await using page = await open(`runs/web1/${runId}`);
  await page.locator('.out').getByText('100000', { exact: true }).waitFor();
  const height = async () => await page.locator('.out-rows').evaluate((rows) => rows.clientHeight);
  const before = await height();
  let refused = 0;
  page.answers = (message) => {
    if ((message.subscribe as { kind?: string } | undefined)?.kind !== 'output') return undefined;
    refused += 1;
    return { id: message.id, error: { code: 'UNREACHABLE', message: 'web1 has not answered' } };
  };
  const earlier = page.getByRole('button', { name: 'Load earlier' });
  await earlier.click();
  await until(() => refused > 0, 'the page to ask for it');
  page.answers = undefined;
  // The refusal may still be on its way to the page.
  await until(async () => {
    await earlier.click({ timeout: patience(1000) }).catch(() => undefined);
    return (await height()) > before;
  }, 'earlier output');
});

test('a list of runs that comes late from a host leaves the reader on the same run', async () => {
  for (const word of ['former', 'latter']) {
    const { runId } = await caller.ask('run', {
      targets: 'web1',
      argv: ['echo', word],
      options: { name: 'read-meanwhile' },
    });
    await (await caller.subscribe('output', { host: 'web1', runId, credit: 1024 })).over();
  }
  await using page = await open('hosts');
  const lists = page.hold((text) => text.includes('"event":"runs"'));
  await goTo(page, 'runs?on=web1&find=read-meanwhile');
  await lists.came();
  const rows = page.locator('.list-row');
  await until(async () => (await rows.count()) === 2, 'both runs from the history');
  await rows.first().focus();
  await page.keyboard.press('ArrowDown');
  const focused = page.locator('.list-row:focus');
  await focused.filter({ hasText: 'read-meanwhile' }).waitFor();
  const before = await focused.getAttribute('aria-rowindex');
  lists.release();
  // Only the host knows how much was written.
  await rows.filter({ hasText: 'echo former' }).filter({ hasText: '7 B' }).waitFor();
  expect(await focused.getAttribute('aria-rowindex')).toBe(before);
  await page.keyboard.press('Enter');
  await page.locator('.out').getByText('former').waitFor();
});

test('older runs that are asked for twice are shown once', async () => {
  await using page = await open('hosts');
  const asked: Message[] = [];
  const told = (program: string, runId: string) => ({
    runId,
    beginMs: 1,
    stage: 'ended',
    hosts: 'web1',
    total: 1,
    fleet: true,
    program,
    repeatable: false,
    counts: { ok: 1 },
  });
  const newest = newRunId();
  page.answers = (message) => {
    if (message.op !== 'history') return undefined;
    if (message.before === undefined)
      return { id: message.id, value: { runs: [told('newest', newest)], next: newest, damaged: 0 } };
    asked.push(message);
    return 'later';
  };
  await goTo(page, 'runs');
  await page.getByRole('button', { name: 'Older runs' }).dblclick();
  await until(() => asked.length === 2, 'both questions');
  for (const { id } of asked) page.tell({ id, value: { runs: [told('older', newRunId())], damaged: 0 } });
  await page.getByRole('button', { name: 'Older runs' }).waitFor({ state: 'detached' });
  await page.locator('.list-row').filter({ hasText: 'older' }).first().waitFor();
  expect(await page.locator('.list-row').filter({ hasText: 'older' }).count()).toBe(1);
});
