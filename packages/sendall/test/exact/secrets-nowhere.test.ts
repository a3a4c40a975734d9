/**
 * A day with secrets: runs that succeed, fail, are refused, attached to and killed; agent, keeper, callers and the
 * warm-links process killed. The values are then in no file of either side, in no process's arguments or environment, and
 * in nothing that was printed.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { connect, fleet, resolveHome, secret, type RunEvent } from 'sendall';
import { alive } from '../../../../test/support/alive.js';
import { patience, until, within } from '../../../../test/support/waits.js';
import { heldPort } from '../dist/held-port.js';
import { endKeeper, removeFolder } from '../remove-home.js';
import { cli } from './machine.js';

/** A value that stands nowhere else. */
const value = (): string => `s3cret${randomBytes(20).toString('hex')}`;

/** The bytes by which a value would be known: as it is, in hexadecimal, and in base64 wherever it begins. */
function traces(of: string): Buffer[] {
  const base64 = ['', 'x', 'xx'].map((before) =>
    Buffer.from(before + of)
      .toString('base64')
      .slice(4, -6),
  );
  const hex = Buffer.from(of).toString('hex');
  return [of, hex, hex.toUpperCase(), ...base64].map((each) => Buffer.from(each));
}
const holds = (bytes: Buffer, of: string): boolean => traces(of).some((trace) => bytes.includes(trace));

/** The files below a folder that hold the value. */
function filesWith(of: string, folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesWith(of, path);
    try {
      return lstatSync(path).isFile() && holds(readFileSync(path), of) ? [path] : [];
    } catch {
      // Removed meanwhile.
      return [];
    }
  });
}

/** The processes of this machine whose arguments or environment hold the value. */
function processesWith(of: string): { pid: number; where: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) =>
      ['cmdline', 'environ'].flatMap((where) => {
        try {
          return holds(readFileSync(`/proc/${pid}/${where}`), of) ? [{ pid: Number(pid), where }] : [];
        } catch {
          // It has ended, or is another user's.
          return [];
        }
      }),
    );
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return 'none';
  }
}

interface Said {
  code: number | null;
  stdout: string;
  text: string;
}

/** Two homes on one machine, and all that their programs print. */
class Site {
  readonly folder = mkdtempSync(join(tmpdir(), 'sendall-nowhere-'));
  readonly printed: { readonly what: string; readonly bytes: Buffer }[] = [];
  agent!: ChildProcess;
  url = '';

  constructor() {
    for (const name of ['host', 'caller', 'home', 'tmp']) mkdirSync(this.at(name), { mode: 0o700 });
    for (const name of ['host', 'caller']) writeFileSync(join(this.at(name), '.sendall'), '', { mode: 0o600 });
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  #env(side: string, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    const env = { HOME: this.at('home'), TMPDIR: this.at('tmp'), SENDALL_HOME: this.at(side) };
    return { ...process.env, ...env, SENDALL_VERBOSE: 'full', ...more };
  }

  /** Starts a program of ours; what it prints is kept. */
  start(side: 'host' | 'caller', words: readonly string[], input = '', more: NodeJS.ProcessEnv = {}): ChildProcess {
    const child = spawn(process.execPath, [cli, ...words], {
      env: this.#env(side, more),
      cwd: this.folder,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const what = `sendall ${words.map((word) => word.slice(0, 40)).join(' ')}`;
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => this.printed.push({ what, bytes }));
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    return child;
  }

  async call(words: readonly string[], input = '', more: NodeJS.ProcessEnv = {}): Promise<Said> {
    return await this.#end(this.start('caller', words, input, more), words.join(' '));
  }

  async onHost(...words: string[]): Promise<Said> {
    return await this.#end(this.start('host', words), words.join(' '));
  }

  async #end(child: ChildProcess, what: string): Promise<Said> {
    const [stdout, all]: [Buffer[], Buffer[]] = [[], []];
    child.stdout!.on('data', (bytes: Buffer) => (stdout.push(bytes), all.push(bytes)));
    child.stderr!.on('data', (bytes: Buffer) => all.push(bytes));
    const [code] = (await within(once(child, 'close'), what, 60_000)) as [number | null];
    return { code, stdout: Buffer.concat(stdout).toString(), text: Buffer.concat(all).toString() };
  }

  async startAgent(): Promise<void> {
    const listen = this.url || `tls://127.0.0.1:${await heldPort()}`;
    this.agent = this.start('host', ['agent', '--listen', listen]);
    let text = '';
    this.agent.stderr!.on('data', (bytes: Buffer) => (text += bytes.toString()));
    await until(
      () => /^listening tls:.*$/m.test(text),
      () => `the agent to listen; it said ${text}`,
    );
    this.url = /^listening (tls:.*)$/m.exec(text)![1]!;
  }

  async status(): Promise<{ pid: number; keeperPid: number }> {
    return JSON.parse((await this.onHost('agent', 'status', '--json')).stdout) as { pid: number; keeperPid: number };
  }

  async remove(): Promise<void> {
    await this.call(['links', 'stop']);
    await this.onHost('agent', 'stop', '--runs');
    this.agent.kill('SIGKILL');
    await endKeeper(this.at('host'));
    await removeFolder(this.folder);
  }
}

async function killed(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await until(() => !alive(pid), `the end of ${pid}`);
}

test(
  'a secret is found nowhere after runs, failures, refusals, attaches, kills and crashes',
  { timeout: patience(300_000) },
  async () => {
    const site = new Site();
    onTestFinished(() => site.remove());
    // Above its files: the caller's own.
    const own = mkdtempSync(join(tmpdir(), 'sendall-own-'));
    onTestFinished(() => rmSync(own, { recursive: true, force: true }));
    await site.startAgent();
    for (const name of ['web1', 'web2']) {
      const made = JSON.parse((await site.onHost('pair', '--new', '--json')).stdout) as { code: string };
      expect((await site.call(['pair', site.url, '--code', '-', '--name', name], `${made.code}\n`)).code).toBe(0);
    }

    const gone = ['gone', 'tls://127.0.0.1:1', '--pin', `SHA256:${'A'.repeat(43)}`];
    expect((await site.call(['hosts', 'add', ...gone])).code).toBe(0);

    const hidden = value();
    const file = join(own, 'hidden');
    writeFileSync(file, hidden);
    const found: string[] = [];
    /** Looks everywhere. `may`: processes that have the value in their environment. */
    const look = (when: string, may: readonly number[] = []): void => {
      for (const path of filesWith(hidden, site.folder)) found.push(`${when}: the file ${path}`);
      for (const { pid, where } of processesWith(hidden))
        if (!may.includes(pid) || where === 'cmdline') found.push(`${when}: the ${where} of ${pid}`);
      for (const { what, bytes } of site.printed) if (holds(bytes, hidden)) found.push(`${when}: printed by ${what}`);
    };
    /** A command that checks that it has the value; its own words do not show it. */
    const has = `test "$(wc -c < /dev/fd/$DB_FD)" -eq ${hidden.length}`;
    const hasVariable = `test \${#DB} -eq ${hidden.length}`;
    const run = ['run', 'web1', '--secret', 'DB=-'];

    // Commands that end, in all ways.
    const ends: [code: number, words: string[], input?: string][] = [
      [0, [...run, '--', 'sh', '-c', has]],
      [0, ['run', 'web1', '--secret', `DB=@${file}`, '--', 'sh', '-c', has]],
      [0, ['sh', 'web1', '--secret', 'DB=-', '-c', has]],
      [0, [...run, '--secret-as', 'env', '--', 'sh', '-c', hasVariable]],
      [0, [...run, '--json', '--name', 'named', '--', 'sh', '-c', has]],
      [0, [...run, '--pty', '--capture', 'split', '--', 'sh', '-c', has]],
      [3, [...run, '--', 'sh', '-c', `${has} && exit 3`]],
      [137, [...run, '--', 'sh', '-c', `${has} && kill -9 $$`]],
      [203, [...run, '--timeout', '100ms', '--kill-grace', '0', '--', 'sleep', '600']],
      [127, [...run, '--', 'no-such-program']],
      [202, [...run, '--cwd', '/no/such/folder', '--', 'true']],
      [202, [...run, '--as', 'no-such-user', '--', 'true']],
      [200, ['run', 'web1', '--secret', 'LD_PRELOAD=-', '--', 'true']],
      [200, [...run, '--env', 'DB_FD=1', '--', 'true']],
      [200, [...run, '--stdin', '--', 'true']],
      [200, [...run, '--secret', 'DB=-', '--', 'true']],
      [202, [...run, '--', 'true'], hidden.repeat(3000)],
      [200, [...run, '--secret-as', 'env', '--', 'true'], `${hidden}\0`],
      [201, ['run', 'gone', '--secret', 'DB=-', '--', 'true']],
      // In the wrong place.
      [200, ['run', 'web1', '--secret', hidden, '--', 'true']],
      [200, ['run', 'web1', '--secret', `1${hidden}=x`, '--', 'true']],
      [200, ['run', 'web1', '--secret-as', 'env', '--secret', `DB=${hidden}`, '--env', 'DB=1', '--', 'true']],
      [0, ['run', 'web[1-2]', '--secret', `DB=@${file}`, '--gather', '--', 'sh', '-c', has]],
      [0, ['run', 'web[1-2]', '--secret', 'DB=-', '--json', '--', 'sh', '-c', `${has}; echo said`]],
      [0, ['run', '--explain', 'web[1-2]', '--secret', 'DB=-', '--', 'true']],
    ];
    for (const [code, words, input = hidden] of ends) {
      const said = await site.call(words, input);
      expect([words.at(-1)!.slice(0, 40), said.code], said.text).toEqual([words.at(-1)!.slice(0, 40), code]);
    }
    look('after commands that ended');

    // Commands that go on, as others see them.
    const going = async (more: string[], script: string): Promise<string> => {
      const said = await site.call(
        ['run', '-d', 'web1', '--json', '--secret', 'DB=-', ...more, '--', 'sh', '-c', script],
        hidden,
      );
      return (JSON.parse(said.stdout) as { runId: string }).runId;
    };
    const first = await going([], `${has} && echo go && sleep 600`);
    const second = await going(['--secret-as', 'env'], `${hasVariable} && echo go && exec sleep 601`);
    const attached = site.start('caller', ['attach', first]);
    await until(
      () => site.printed.some(({ what, bytes }) => what.includes('attach') && bytes.includes('go')),
      'output',
    );
    for (const words of [
      ['ps', 'web1'],
      ['ps', '--all', '--json', 'web1'],
      ['logs', first],
      ['ps', '--fleet', '--all'],
      ['hosts'],
    ])
      expect((await site.call(words)).code).toBe(0);
    const audited = await site.onHost('audit', 'tail', '-n', '1000', '--json');
    expect(audited.stdout).toContain(first);
    for (const words of [['show', first], ['verify'], ['head']]) await site.onHost('audit', ...words);
    await site.call(['audit', 'verify', '--against', 'web1']);
    await site.call(['doctor', 'web1']);
    await site.onHost('doctor');
    const { pid, keeperPid } = await site.status();
    const links = JSON.parse((await site.call(['links', '--json'])).stdout) as { pid: number };
    for (const each of [pid, keeperPid, links.pid]) expect(alive(each)).toBe(true);
    // By now the second command has become sleep; a shell before it is gone.
    const names = () => processesWith(hidden).map((each) => commandOf(each.pid));
    await until(
      () => names().join() === 'sleep',
      () => `sleep alone to have the variable; now ${names().join()}`,
    );
    const mayHave = processesWith(hidden).map((each) => each.pid);
    look('while commands run', mayHave);

    // Crashes: of the caller, the warm-links process, the agent and, last, the keeper.
    await killed(attached.pid!);
    await killed(links.pid);
    const through = site.start('caller', ['attach', first, '--on', 'web1']);
    await until(
      () => site.printed.some(({ what, bytes }) => what.endsWith('--on web1') && bytes.includes('go')),
      'the output on another link',
    );
    const waiting = site.start('caller', [...run, '--', 'sh', '-c', `${has} && sleep 602`], hidden);
    await until(async () => (await site.call(['ps', 'web1'])).stdout.includes('sleep 602'), 'the third command');
    site.agent.kill('SIGKILL');
    await once(site.agent, 'exit');
    look('after the end of the agent', mayHave);
    await site.startAgent();
    expect((await site.call(['kill', second, '-s', 'KILL', '--on', 'web1'])).code).toBe(0);
    const keeper = (await site.status()).keeperPid;
    expect(keeper).toBe(keeperPid);
    const lost = Promise.all([through, waiting].map(async (child) => await once(child, 'close')));
    await killed(keeper);
    expect(await lost).toEqual([
      [205, null],
      [205, null],
    ]);
    expect((await site.call([...run, '--', 'sh', '-c', has], hidden)).code).toBe(0);
    await site.onHost('audit', 'verify');
    look('after the end of the keeper');
    expect((await site.call(['result', first, '--json', '--on', 'web1'])).text).toContain('lost');
    await site.call(['forget', second, '--on', 'web1']);

    // The API, and what its users print.
    const home = resolveHome({ SENDALL_HOME: site.at('caller') });
    const shown: unknown[] = [];
    const DB = secret(hidden);
    await using host = await connect('web1', { home });
    const running = host.run(['sh', '-c', `${has}; exit 4`], { secrets: { DB }, reject: false });
    const events: RunEvent[] = [];
    for await (const event of running.events()) events.push(event);
    shown.push(host, running, events, DB, { secrets: { DB } }, await running);
    const failure = await host.run(['sh', '-c', 'exit 5'], { secrets: { DB } }).catch((error: unknown) => error);
    const many = fleet('web1,web2', { home }).run(['sh', '-c', has], { secrets: { DB } });
    shown.push(failure, many, await many);
    for (const wrong of [{ secrets: { DB: hidden } }, { secrets: { '!': DB } }, { env: { DB } }, { secrets: hidden }])
      try {
        host.run(['true'], wrong as object);
      } catch (error) {
        shown.push(error);
      }
    expect(shown).toHaveLength(13);
    for (const each of shown)
      for (const text of [inspect(each, { depth: 20, showHidden: true }), String(each), safeJson(each)])
        expect(holds(Buffer.from(text), hidden)).toBe(false);
    look('after the API');
    expect(found).toEqual([]);

    // Would it be found? A value on a command line, one that a command prints, and one in a file.
    const control = value();
    const go = join(own, 'go');
    const seen = site.start('caller', [
      'run',
      '-n',
      'web[1-2]',
      '--secret',
      `DB=${control}`,
      '--',
      'sh',
      '-c',
      `cat <&$DB_FD; until [ -e ${go} ]; do sleep 0.05; done`,
    ]);
    const closed = once(seen, 'close');
    await until(() => processesWith(control).some((each) => each.where === 'cmdline' && each.pid === seen.pid), 'ps');
    writeFileSync(go, '');
    await closed;
    expect(site.printed.some(({ bytes }) => holds(bytes, control))).toBe(true);
    const files = filesWith(control, site.folder);
    expect(files.some((path) => path.startsWith(site.at('host')))).toBe(true);
    expect(files.some((path) => path.startsWith(site.at('caller')))).toBe(true);
  },
);

function safeJson(each: unknown): string {
  try {
    return JSON.stringify(each) ?? '';
  } catch {
    return '';
  }
}
