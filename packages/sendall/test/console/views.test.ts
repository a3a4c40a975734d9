/** Fleet runs, terminals, policy and log in the console's page: real agents, the real console, Chromium. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { patience, until } from '../../../../test/support/waits.js';
import { pressTwice } from './presses.js';
import { rootTest } from '../../../../test/support/root.js';
import { goTo, Site } from './site.js';

let site: Site;
beforeAll(async () => {
  site = await Site.start(['web1', 'web2']);
});
afterAll(async () => {
  await site?.[Symbol.asyncDispose]();
});

/** A folder for one test. */
function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'sendall-page-'));
  onTestFinished(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

/** Shell text that does one thing on the first host that comes to it, and another on the others. */
const firstAndOthers = (first: string, others: string) =>
  `if mkdir '${join(folder(), 'taken')}' 2>/dev/null; then ${first}; else ${others}; fi`;

/** Starts shell text on all three hosts, as another page would, and opens its view. */
async function openFleet(page: Page, script: string, name?: string): Promise<void> {
  const { runId } = await site.ask('run', {
    targets: 'local,web1,web2',
    script,
    ...(name === undefined ? {} : { options: { name } }),
  });
  await goTo(page, `fleet/${runId}`);
}

describe('a fleet run', () => {
  it('shows equal answers once, and how the others differ', async () => {
    await using page = await site.open();
    await openFleet(page, firstAndOthers('echo same; echo mine', 'echo same; echo yours'));
    await page.getByText('all 3 ok').waitFor();
    const [majority, other] = [page.locator('.answer').first(), page.locator('.answer').last()];
    // Groups are in the order of their answers until all answers are there.
    await until(
      async () => (await page.locator('.answer-count').allTextContents()).join() === '2 hosts,1 host',
      'the larger group, then the other',
    );
    const has = (text: () => Promise<string | null>, expected: string) =>
      until(async () => (await text()) === expected, expected);
    await has(() => majority.locator('pre').textContent(), 'sameyours');
    await has(() => other.locator('.diff-added bdi').textContent(), 'mine');
    await has(() => other.locator('.diff-removed bdi').textContent(), 'yours');
    await other.getByRole('button', { name: 'Output' }).click();
    await has(() => other.locator('pre').textContent(), 'samemine');
    expect(await page.locator('.bar').getAttribute('aria-label')).toBe('3 ok');
  });

  it('leads to the output of one host', async () => {
    await using page = await site.open();
    await openFleet(page, 'echo from this host');
    await page.getByText('all 3 ok').waitFor();
    await page.locator('.fleet-hosts').getByRole('link', { name: 'web2' }).click();
    await page.locator('.out-row').getByText('from this host').waitFor();
    expect(await page.evaluate('location.hash')).toMatch(/^#\/runs\/web2\//);
  });

  it('names a late host, and asks twice before it cancels', async () => {
    await using page = await site.open();
    await openFleet(page, firstAndOthers('exec sleep 600', 'true'));
    // Another one may be late as well for a while, and the page hears of a start a little later.
    await until(
      async () => /^(local|web\d) running for \d[^,]*$/.test((await page.locator('.late li').allTextContents()).join()),
      'the one that runs to be late',
    );
    await page.getByText('1 late host').waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    const sure = page.getByRole('button', { name: 'End it on 1 host?' });
    await sure.waitFor();
    await page.keyboard.press('Escape');
    const ask = page.getByRole('button', { name: 'Cancel' });
    await ask.waitFor();
    await pressTwice({ ask, sure, acted: page.getByText('1 of 3 not ok') });
    expect(await page.locator('.late').count()).toBe(0);
  });

  it('runs again where it failed', async () => {
    await using page = await site.open();
    const place = folder();
    await openFleet(
      page,
      `if mkdir '${place}/first' 2>/dev/null || test -e '${place}/second'; then true; else exit 3; fi`,
    );
    await page.getByText('2 of 3 not ok').waitFor();
    const before = await page.evaluate('location.hash');
    writeFileSync(join(place, 'second'), '');
    await page.getByRole('button', { name: 'Again on the 2 failed' }).click();
    await page.getByText('all 2 ok').waitFor();
    expect(await page.evaluate('location.hash')).not.toBe(before);
  });

  it('narrows its hosts by state and name', async () => {
    await using page = await site.open();
    await openFleet(page, firstAndOthers('exit 3', 'true'));
    await page.getByText('1 of 3 not ok').waitFor();
    await page.locator('.kind-failed').click();
    await until(async () => (await page.locator('.fleet-hosts .list-row').count()) === 1, 'one host');
    await page.locator('.kind-failed').click();
    await page.locator('[data-filter]').fill('web');
    await until(async () => (await page.locator('.fleet-hosts .list-row').count()) === 2, 'two hosts');
  });

  it('shows how long each host took, from the history too', async () => {
    await using page = await site.open();
    await openFleet(page, 'true');
    await page.getByText('all 3 ok').waitFor();
    const place = String(await page.evaluate('location.hash')).slice(2);
    const times = async () => await page.locator('.fleet-hosts .list-row .c-time').allTextContents();
    const isWhole = (all: string[]) => all.length === 3 && all.every((time) => /^\d/.test(time));
    await until(async () => isWhole(await times()), 'a time for each host');
    await goTo(page, 'hosts');
    await page.locator('.hosts .list-row').first().waitFor();
    await goTo(page, place);
    await until(async () => isWhole(await times()), 'the same from the history');
  });

  it('shows a long reason whole where the pointer or the focus is', async () => {
    const url = 'tls://127.0.0.1:1';
    const pin = `SHA256:${'A'.repeat(42)}E`;
    const folder = join(site.user.home, 'hosts.d');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(join(folder, 'gone.yaml'), `hosts:\n  gone1: {url: '${url}', pin: '${pin}'}\n`, { mode: 0o600 });
    onTestFinished(() => rmSync(join(folder, 'gone.yaml')));
    const { runId } = await site.ask('run', { targets: 'gone1,web1', script: 'true' });
    await using page = await site.open(`fleet/${runId}`, { viewport: { width: 1200, height: 800 } });
    const row = page.locator('.fleet-hosts .list-row', { hasText: '127.0.0.1:1' });
    const cell = row.locator('.c-why');
    await cell.waitFor();
    const isCut = () => cell.evaluate(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth);
    expect(await isCut()).toBe(true);
    await row.focus();
    expect(await isCut()).toBe(false);
    await page.locator('h1').click();
    expect(await isCut()).toBe(true);
    await cell.hover();
    expect(await isCut()).toBe(false);
  });
});

const screenText = async (page: Page): Promise<string> =>
  (await page.locator('.xterm-rows').innerText()).replaceAll('\u00a0', ' ');
const shows = (page: Page, text: string | RegExp) =>
  until(
    async () => {
      const screen = await screenText(page);
      return typeof text === 'string' ? screen.includes(text) : text.test(screen);
    },
    () => `${String(text)} on the screen`,
  );

/** Types a line into the terminal that has the focus. */
async function type(page: Page, line: string): Promise<void> {
  await page.locator('.xterm.focus').waitFor();
  await page.keyboard.insertText(line);
  await page.keyboard.press('Enter');
}

/** Opens a shell on a host in the page. */
async function openShell(page: Page, host: string): Promise<void> {
  await goTo(page, `terminal/${host}`);
  await page.getByRole('button', { name: 'Open a shell' }).click();
  await page.getByText('in control').waitFor();
  await type(page, 'PS1="% "; clear; echo rea""dy in "$HOME"');
  await shows(page, `ready in ${process.env.HOME}`);
}

describe('a terminal', () => {
  it('opens a shell that knows its size, and its new one', async () => {
    await using page = await site.open();
    await openShell(page, 'web1');
    const size = async () => (await page.locator('.terminal-foot .mono').textContent())!.replace('×', ' ').split(' ');
    /** It may take several steps until the terminal fills its place. */
    const isKnownThere = () =>
      until(async () => {
        const [cols, rows] = await size();
        await type(page, 'clear; stty size');
        return (await screenText(page)).includes(`${rows} ${cols}`);
      }, 'its size there');
    await isKnownThere();
    const [cols] = await size();
    await page.setViewportSize({ width: 900, height: 600 });
    await until(async () => (await size())[0] !== cols, 'another size');
    await isKnownThere();
    await type(page, 'exit 7');
    await page.getByText('exit 7').first().waitFor();
  });

  it('opens though it was asked for before the page had its link', async () => {
    const context = await site.browser.newContext();
    onTestFinished(() => context.close());
    context.setDefaultTimeout(patience(30_000));
    const page = await site.newPage(context);
    let link!: () => void;
    const isLinked = new Promise<void>((resolve) => (link = resolve));
    await page.routeWebSocket(/feed$/, async (socket) => {
      await isLinked;
      socket.connectToServer();
    });
    await page.goto(site.url);
    await goTo(page, 'terminal/web1');
    await page.getByRole('button', { name: 'Open a shell' }).click();
    link();
    await page.getByText('in control').waitFor();
    await type(page, `[ "$HOME" = '${process.env.HOME}' ] && exit`);
    await page.getByText('exit 0').first().waitFor();
  });

  it('goes on when the page leaves, and is drawn again when it comes back', async () => {
    await using page = await site.open();
    await openShell(page, 'web1');
    await type(page, 'echo still h""ere');
    await shows(page, 'still here');
    const hash = String(await page.evaluate('location.hash'));
    await page.getByRole('button', { name: 'Detach' }).click();
    await goTo(page, 'hosts');
    await page.locator('.list-row').first().waitFor();
    await goTo(page, hash.slice(2));
    await page.getByText('in control').waitFor();
    await shows(page, 'still here');
    await page.locator('.xterm-helper-textarea').focus();
    await type(page, 'echo once m""ore');
    await shows(page, 'once more');
    await type(page, 'exit');
    await page.getByText('exit 0').first().waitFor();
  });

  it('is watched by a link that can do nothing else, and taken over by another page', async () => {
    await using page = await site.open('hosts', { permissions: ['clipboard-read', 'clipboard-write'] });
    await openShell(page, 'web2');
    const [, , host, id] = String(await page.evaluate('location.hash')).split(/[/?]/);
    const { url } = await site.ask('watchLink', { host: host!, runId: id! });
    const context = await site.browser.newContext();
    onTestFinished(() => context.close());
    context.setDefaultTimeout(patience(30_000));
    const watcher = await context.newPage();
    await watcher.goto(url);
    await type(page, 'echo for all to s""ee');
    await shows(page, 'for all to see');
    await watcher.getByText('for all to see').first().waitFor();
    expect(await watcher.getByRole('button', { name: 'Take control' }).count()).toBe(0);

    await using other = await site.open(`terminal/${host}/${id}?control=1`);
    await other.getByText('in control').waitFor();
    await page.getByText('Another caller has taken control; this page watches.').first().waitFor();
    await page.locator('.xterm-helper-textarea').focus();
    await type(page, 'echo not he""ard');
    await other.locator('.xterm-helper-textarea').focus();
    await type(other, 'echo the ot""her');
    await shows(page, 'the other');
    expect(await screenText(page)).not.toContain('not heard');
    await page.getByRole('button', { name: 'Take control' }).click();
    await page.getByText('in control').waitFor();
    await type(page, 'exit');
    await page.getByText('exit 0').first().waitFor();
  });

  it('never answers a query in old output, and answers one in new output', async () => {
    const place = folder();
    // Asks who it is, where the cursor is and which colour it has; then notes each byte it gets.
    const asks = String.raw`'\033[c\033[6n\033]11;?\033\\\033[>c'`;
    writeFileSync(
      join(place, 'asks.sh'),
      `stty raw -echo; printf ${asks}; printf asked
       while :; do b=$(dd bs=1 count=1 2>/dev/null | od -An -tx1); echo "$b" >> ${place}/heard
         case $b in *71*) exit;; *61*) printf ${asks};; esac; done\n`,
    );
    const { runId } = await site.ask('run', {
      targets: 'web1',
      argv: ['sh', join(place, 'asks.sh')],
      options: { pty: { cols: 80, rows: 24 } },
    });
    // All of the question is in the output of before.
    const asked = async () => (await site.ask('runInfo', { host: 'web1', runId })).listing?.stdoutBytes ?? 0;
    await until(async () => (await asked()) >= '\x1b[c\x1b[6n\x1b]11;?\x1b\\\x1b[>casked'.length, 'the program to ask');
    await using page = await site.open(`terminal/web1/${runId}?control=1`);
    await page.getByText('in control').waitFor();
    await shows(page, 'asked');
    const heard = () =>
      existsSync(join(place, 'heard')) ? readFileSync(join(place, 'heard'), 'utf8').split(/\s+/).filter(Boolean) : [];
    await page.locator('.xterm-helper-textarea').focus();
    // What xterm has to say to the old queries would come before this key.
    await page.keyboard.type('x');
    await until(() => heard().includes('78'), 'the key');
    expect(heard()).toEqual(['78']);
    await page.keyboard.type('a');
    await until(() => heard().length > 4, 'answers');
    expect(heard().slice(0, 4)).toEqual(['78', '61', '1b', '5b']);
    await page.getByRole('button', { name: 'Only watch' }).click();
    await page.getByText('watching').first().waitFor();
    await page.getByRole('button', { name: 'Take control' }).click();
    await page.getByText('in control').waitFor();
    await page.locator('.xterm-helper-textarea').focus();
    await page.keyboard.type('q');
    await page.getByText('exit 0').first().waitFor();
  });
});

const MARKUP = '<img src=x onerror="globalThis.owned=1"><script>globalThis.owned=1</script>';
/** Everything that hostile output tries: markup, the title, links, the clipboard, colours, the other screen, direction. */
const HOSTILE = [
  MARKUP,
  '\u001b]0;owned title\u0007\u001b]2;owned title\u0007',
  '\u001b]8;;http://198.51.100.7/owned\u0007a link\u001b]8;;\u0007',
  `\u001b]52;c;${Buffer.from('owned').toString('base64')}\u0007`,
  '\u001b[38;2;1;2;3m\u001b[48;2;4;5;6m24 bits\u001b[0m',
  '\u001b]4;1;#ffffff\u0007\u001b]10;#000000\u0007\u001bP+q544e\u001b\\',
  'abc\u202egnp.exe\u202c \u2066x\u2069 \u200bzero',
  `\u001b[${'9'.repeat(400)};1H\u001b[2147483647A\u001b[?1049h\u001b[?1049l`,
  `\u001b]${'x'.repeat(70_000)}`,
  '\u001b\\the end',
  // A run's view shows the end, and the long line takes more rows than are in sight.
  MARKUP,
].join('\n');

/** What a page did that it should not have done. */
async function misdeeds(page: Page) {
  return await page.evaluate(`({
    owned: globalThis.owned,
    title: document.title.includes('owned'),
    elements: document.querySelectorAll('main img, main script, main .xterm a, main iframe').length,
  })`);
}

describe('hostile output', () => {
  it('does nothing in a terminal, in a run and in a fleet run but appear', async () => {
    const file = join(folder(), 'hostile');
    writeFileSync(file, HOSTILE);
    await using page = await site.open('hosts', { permissions: ['clipboard-read', 'clipboard-write'] });
    const requests: string[] = [];
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== new URL(site.url).origin) requests.push(request.url());
    });
    await page.evaluate('navigator.clipboard.writeText("mine")');
    const nothing = { owned: undefined, title: false, elements: 0 };
    const opened = await site.ask('run', {
      targets: 'web1',
      argv: ['sh', '-c', `cat '${file}'; sleep 600`],
      options: { pty: { cols: 80, rows: 24 } },
    });
    await goTo(page, `terminal/web1/${opened.runId}?control=1`);
    await shows(page, 'the end');
    await page.locator('.xterm-screen').hover();
    expect(await misdeeds(page)).toEqual(nothing);
    await site.ask('kill', { host: 'web1', runId: opened.runId });

    await openFleet(page, `cat '${file}'; exec cat '${file}' >&2`, 'evil\u202eman <b>');
    await page.getByText('all 3 ok').waitFor();
    await page.locator('.answer pre').first().getByText('<img src=x').waitFor();
    expect(await misdeeds(page)).toEqual(nothing);
    await page.locator('.fleet-hosts').getByRole('link', { name: 'web2' }).click();
    await page.locator('main').getByText('<img src=x').first().waitFor();
    expect(await misdeeds(page)).toEqual(nothing);
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe('mine');
    expect(requests).toEqual([]);
  });

  it('takes a line of 10 MB, and the page goes on', async () => {
    await using page = await site.open();
    await openFleet(page, 'head -c 10000000 /dev/zero | tr "\\\\0" x');
    await page.getByText('all 3 ok').waitFor();
    await page.locator('.fleet-hosts').getByRole('link', { name: 'web2' }).click();
    await page.locator('main').getByText('xxxx').first().waitFor();
    await page.locator('.nav').getByRole('link', { name: 'Hosts' }).click();
    await page.getByText('web2').first().waitFor();
  });
});

describe('policy and log', () => {
  it('says that there is no policy, and shows the rules once there are some', async () => {
    await using page = await site.open('policy/local');
    await page.getByText('No policy: the agent serves owners only.').waitFor();
    const file = join(site.user.home, 'policy.yaml');
    const rules = [
      'version: 1',
      'rules:',
      '  - id: restart-web',
      '    who: [role:deploy, alice]',
      '    verbs: [exec]',
      '    program: /usr/bin/true',
      '    args: [{one-of: [restart, status]}]',
      '    run-as: nobody',
      '    cwd: [/]',
    ];
    writeFileSync(file, `${rules.join('\n')}\n`, { mode: 0o600 });
    onTestFinished(() => rmSync(file));
    await goTo(page, 'hosts');
    await goTo(page, 'policy/local');
    await page.locator('.rule').getByText('restart-web').waitFor();
    await page.getByLabel('Who').fill('alice');
    await page.getByLabel('Program and arguments').fill('true\nstop');
    await page.getByRole('button', { name: 'Ask' }).click();
    await page.locator('.verdict.deny').getByText('argument 1 "stop" is not one of restart, status').waitFor();
  });

  it('shows the rules as they are now when it is asked again', async () => {
    await using page = await site.open('policy/web1');
    await page.getByText('No policy: the agent serves owners only.').waitFor();
    const file = join(site.machines[1]!.user.home, 'policy.yaml');
    writeFileSync(file, 'version: 1\nrules: [{id: own-runs, who: [alice], verbs: [list]}]\n', { mode: 0o600 });
    onTestFinished(() => rmSync(file));
    await page.getByLabel('Host', { exact: true }).focus();
    await page.keyboard.press('Enter');
    await page.locator('.rule').getByText('own-runs').waitFor();
  });

  it('says which rule trusts its program, and with what', async () => {
    const rule = '{id: date, who: [alice], verbs: [exec], program: /usr/bin/date, run-as: root, trusts-program: yes}';
    const file = join(site.machines[1]!.user.home, 'policy.yaml');
    writeFileSync(file, `version: 1\nrules: [${rule}]\n`, { mode: 0o600 });
    onTestFinished(() => rmSync(file));
    await using page = await site.open('policy/web1');
    await page.locator('.rule').getByText('The program is trusted: it may run as root.').waitFor();
    await using chinese = await site.open('policy/web1', { language: 'zh' });
    await chinese.locator('.rule').getByText('此程序受信任：可以以 root 身份运行。').waitFor();
  });

  it('asks for nothing that the form of a run does not show', async () => {
    await using page = await site.open('run?targets=web[1-2]');
    await page.locator('.words textarea').first().fill('true');
    await page.getByText('Options').click();
    await page.getByLabel('Hosts at a time').fill('1');
    await page.getByRole('combobox', { name: 'Targets' }).fill('web1');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.locator('.verdicts').getByText('owner: no rule is asked').waitFor();
    expect(await page.getByLabel('Hosts at a time').count()).toBe(0);
  });

  // Only root's agent serves others than owners.
  rootTest('a plan names the rule that lets in a caller who is no owner, or says that there is none', async () => {
    const [here] = site.machines;
    const rules =
      '  - {id: harmless, who: [role:deploy], verbs: [exec], program: /usr/bin/true, run-as: bin, cwd: [/]}';
    for (const { user } of site.machines) {
      const file = join(user.home, 'policy.yaml');
      writeFileSync(file, `version: 1\nrules:\n${rules}\n`, { mode: 0o600 });
      onTestFinished(() => rmSync(file));
    }
    const [made] = here!.user.events(['pair', '--new', '--principal', 'alice', '--role', 'deploy', '--json']);
    expect(site.user.call(['pair', here!.url, '--code', String(made!.code), '--name', 'guest']).code).toBe(0);
    await using page = await site.open('run?targets=guest');
    const word = page.locator('.words textarea').first();
    await word.fill('true');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.locator('.verdicts').getByText('rule harmless').waitFor();
    await word.fill('false');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.locator('.verdicts').getByText('no rule lets alice exec false').waitFor();
    await goTo(page, 'policy/guest');
    await page.getByText('the policy is shown to owners only').waitFor();
    await goTo(page, 'policy/web1');
    await page.locator('.rule').getByText('harmless').waitFor();
  });

  it('shows the log as it grows, and that it was not changed', async () => {
    await using page = await site.open('policy/web1');
    await page.locator('.record').first().waitFor();
    await site.ask('run', { targets: 'web1', argv: ['sh', '-c', ': a word in the log'] });
    await page.locator('.record').getByText("sh -c ': a word in the log'").first().waitFor();
    await page.getByRole('button', { name: 'Verify the log' }).click();
    await page
      .locator('.verified')
      .getByText(/Nothing was changed: \d+ records/)
      .waitFor();
  });
});
