/**
 * What the tests of the console's page run on: agents of their own, a caller who is paired with them, the real console for
 * that caller, and pages of it in Chromium. Shared by the tests of a file.
 */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from 'playwright-core';
import { expect } from 'vitest';
import { WebSocket } from 'ws';
import { chromiumOptions } from '../../../../test/support/chromium.js';
import { patience, within } from '../../../../test/support/waits.js';
import { Machine, User } from '../cli/support.js';
import { FEED_PATH, type Asked, type Operation, type Value } from '../../dist/console/messages.js';
import { TestPage } from './support.js';

export type ConsolePage = Page & AsyncDisposable & { readonly errors: string[] };

export interface PageOptions extends BrowserContextOptions {
  /** @default 'en' */
  readonly language?: 'en' | 'zh';
  /** Errors that the test expects. */
  readonly tolerates?: RegExp;
}

export class Site implements AsyncDisposable {
  readonly user: User;
  readonly machines: readonly Machine[];
  readonly browser: Browser;
  readonly #console: ChildProcess;
  /** With the token in its fragment. */
  readonly url: string;

  private constructor(user: User, machines: readonly Machine[], console: ChildProcess, url: string, browser: Browser) {
    this.user = user;
    this.machines = machines;
    this.#console = console;
    this.url = url;
    this.browser = browser;
  }

  /**
   * @param names of the machines, whose user is paired with all of them; the first one is this user's own, "local"
   * @param hosts lines of hosts.d/more.yaml
   */
  static async start(names: readonly string[], { hosts = '', options = [] as readonly string[] } = {}): Promise<Site> {
    const [browser, local, ...machines] = await Promise.all([
      chromium.launch(chromiumOptions()),
      ...['local', ...names].map((name) => Machine.start('--name', name)),
    ]);
    const { user } = local!;
    for (const [i, machine] of machines.entries()) {
      const [made] = machine.user.events(['pair', '--new', '--json']);
      const paired = user.call(['pair', machine.url, '--code', String(made!.code), '--name', names[i]!]);
      if (paired.code !== 0) throw new Error(paired.stderr);
    }
    if (hosts !== '') {
      mkdirSync(join(user.home, 'hosts.d'), { recursive: true, mode: 0o700 });
      writeFileSync(join(user.home, 'hosts.d', 'more.yaml'), hosts, { mode: 0o600 });
    }
    const started = user.start(['console', '--listen', '127.0.0.1:0', '--no-open', '--json', ...options]);
    const lines = createInterface({ input: started.stdout! });
    started.stderr!.pipe(process.stderr);
    const [line] = (await within(once(lines, 'line'), 'the console to listen')) as [string];
    const { url, token } = JSON.parse(line) as { url: string; token: string };
    const address = new URL(url);
    if (address.hash === '') address.hash = token;
    return new Site(user, [local!, ...machines], started, address.href, browser);
  }

  /** A page at a place such as "policy/local". The page may report no error. */
  async open(place = 'hosts', { language = 'en', tolerates, ...options }: PageOptions = {}): Promise<ConsolePage> {
    const context = await this.browser.newContext({
      viewport: { width: 1280, height: 860 },
      reducedMotion: 'reduce',
      locale: language === 'zh' ? 'zh-CN' : 'en-GB',
      ...options,
    });
    context.setDefaultTimeout(patience(30_000));
    const page = await this.newPage(context);
    const errors: string[] = [];
    const note = (text: string) => {
      if (!tolerates?.test(text)) errors.push(text);
    };
    page.on('pageerror', (error) => note(error.message));
    page.on('console', (message) => message.type() === 'error' && note(message.text()));
    await page.goto(this.url);
    await page.locator('#main h1').first().waitFor();
    await goTo(page, place);
    return Object.assign(page, {
      errors,
      async [Symbol.asyncDispose]() {
        await context.close();
        expect(errors).toEqual([]);
      },
    });
  }

  /** A page whose shells have the tests' home: they read no profile of the account that runs the tests. */
  async newPage(context: BrowserContext): Promise<Page> {
    await context.addInitScript(`{
      const { send } = WebSocket.prototype;
      WebSocket.prototype.send = function (data) {
        const home = ${JSON.stringify(JSON.stringify({ HOME: process.env.HOME }))};
        const isShell = typeof data === 'string' && data.includes('"loginShell":true,"options":{');
        send.call(this, isShell ? data.replace('"options":{', '"options":{"env":' + home + ',') : data);
      };
    }`);
    return await context.newPage();
  }

  /** Asks the console as another page would. */
  async ask<O extends Operation>(op: O, asked: Asked<O>): Promise<Value<O>> {
    const { origin, host, hash } = new URL(this.url);
    using page = await TestPage.open(new WebSocket(`ws://${host}${FEED_PATH}`, { headers: { origin } }), hash.slice(1));
    return await page.ask(op, asked);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.browser.close();
    this.#console.kill('SIGTERM');
    if (this.#console.exitCode === null && this.#console.signalCode === null) await once(this.#console, 'exit');
    for (const machine of this.machines) await machine[Symbol.asyncDispose]();
  }
}

/** Goes to another place of the page, as a link would. The page has heard of it: it does not skip a place on the way. */
export async function goTo(page: Page, place: string): Promise<void> {
  await page.evaluate(`new Promise((resolve) => {
    const hash = ${JSON.stringify(`#/${place}`)};
    if (location.hash === hash) return resolve();
    addEventListener('hashchange', () => resolve(), { once: true });
    location.hash = hash;
  })`);
}
