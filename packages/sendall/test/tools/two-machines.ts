/**
 * Two machines: "here" is a user with `sendall` and `sendall-ssh` on the PATH, "there" the host web1, whose agent can be
 * killed and comes back. As root, an account of its own owns what is there; otherwise a folder does.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { until, within } from '../../../../test/support/waits.js';
import { ended, addAccount, removeAccount, type Account } from '../install/site.js';
import { removeFolder, removeHome } from '../remove-home.js';
import type { Moment } from './moments.js';
import { Way } from './way.js';

const CHECKOUT = fileURLToPath(new URL('../../../..', import.meta.url));
const PROGRAM = 'packages/sendall/bin/sendall.js';

/**
 * Starts Node as an account, which sees the checkout and Node in a folder of its own: where they really are, only root
 * may be able to look.
 */
const AS_ACCOUNT = `
set -e
mount --bind "$1" "$3/checkout"
mount --bind "$2" "$3/node"
exec setpriv --reuid "$4" --regid "$4" --init-groups -- "$3/node" "$3/checkout/$5"`;

/** The full sizes, for a run by hand; `npm test` takes small ones. */
export const isFull = process.env.TOOLS_SIZES === 'full';

/** Milliseconds that one program may take on a quiet machine. */
const PROGRAM_WITHIN = isFull ? 900_000 : 60_000;
/** Milliseconds that a test may take, on a busy machine too. */
export const LIMIT = isFull ? 3_600_000 : 1_200_000;

export interface Output {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class TwoMachines implements AsyncDisposable {
  /** The caller's home. */
  readonly here = mkdtempSync(join(tmpdir(), 'sendall-here-'));
  /** The home of the host's account. */
  readonly there: string;
  readonly env: NodeJS.ProcessEnv;
  readonly account: Account | undefined;
  readonly #view = mkdtempSync(join(tmpdir(), 'sendall-view-'));
  readonly #envThere: NodeJS.ProcessEnv;
  readonly #way: Way;
  #agent: ChildProcess | undefined;

  private constructor(way: Way) {
    this.#way = way;
    this.account = process.getuid?.() === 0 ? addAccount() : undefined;
    this.there = this.account?.home ?? mkdtempSync(join(tmpdir(), 'sendall-there-'));
    const bin = join(this.here, 'bin');
    mkdirSync(bin);
    for (const name of ['sendall', 'sendall-ssh'])
      symlinkSync(join(CHECKOUT, `packages/sendall/bin/${name}.js`), join(bin, name));
    const { PATH, LANG, LC_ALL } = process.env;
    this.env = { LANG, LC_ALL, PATH: bin + delimiter + PATH, HOME: this.here, USER: 'here', TERM: 'dumb' };
    this.#envThere = { LANG, LC_ALL, PATH, HOME: this.there, SENDALL_HOME: join(this.there, '.sendall') };
    chmodSync(this.#view, 0o755);
    mkdirSync(join(this.#view, 'checkout'));
    writeFileSync(join(this.#view, 'node'), '');
  }

  static async start(): Promise<TwoMachines> {
    const machines = new TwoMachines(await Way.open());
    await machines.startAgent();
    const [, code] = /"code":"([^"]+)"/.exec(await machines.#askThere('pair', '--new', '--json'))!;
    await machines.bash(`sendall pair ${machines.#way.url} --code ${code} --name web1`);
    return machines;
  }

  #spawnThere(...words: string[]): ChildProcess {
    const options = { env: this.#envThere, cwd: this.there };
    if (this.account === undefined) return spawn(process.execPath, [join(CHECKOUT, PROGRAM), ...words], options);
    const script = `${AS_ACCOUNT} ${words.map((word) => `'${word}'`).join(' ')}`;
    const places = [CHECKOUT, process.execPath, this.#view, this.account.name, PROGRAM];
    return spawn('unshare', ['--mount', 'sh', '-c', script, 'sh', ...places], options);
  }

  async #askThere(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await ended(this.#spawnThere(...words));
    if (code !== 0) throw new Error(`sendall ${words.join(' ')}: ${stderr}`);
    return stdout;
  }

  async startAgent(): Promise<void> {
    const agent = this.#spawnThere('agent', '--listen', this.#way.agentUrl);
    this.#agent = agent;
    const heard = async () => {
      let said = '';
      for await (const line of createInterface({ input: agent.stderr! })) {
        if (line.startsWith('listening tls:')) return;
        said += `${line}\n`;
      }
      throw new Error(`the agent ended: ${said}`);
    };
    await within(heard(), 'the agent to listen');
    agent.stderr!.resume();
  }

  async killAgent(): Promise<void> {
    const agent = this.#agent!;
    const gone = once(agent, 'exit');
    agent.kill('SIGKILL');
    await gone;
  }

  /** Kills the agent, and starts it again. */
  async replaceAgent(): Promise<void> {
    await this.killAgent();
    await this.startAgent();
    this.#way.reopen();
  }

  /** Runs bash text here to its end, in the caller's home. It must end with 0. */
  async bash(text: string, env: NodeJS.ProcessEnv = {}): Promise<Output> {
    const output = await this.tryBash(text, env);
    if (output.code !== 0) throw new Error(`${text}\nended with ${output.code}: ${output.stdout}${output.stderr}`);
    return output;
  }

  /** The same with any end. */
  async tryBash(text: string, env: NodeJS.ProcessEnv = {}): Promise<Output> {
    const child = spawn('bash', ['-c', text], {
      env: { ...this.env, ...env },
      cwd: this.here,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 10 * PROGRAM_WITHIN,
    });
    return await ended(child);
  }

  /**
   * Like `bash`, while the agent there is killed at each of these moments and comes back. The text must not have ended
   * by then: it has to move more bytes, or to pass the gate.
   */
  async bashWithKills(text: string, moments: readonly Moment[], env: NodeJS.ProcessEnv = {}): Promise<Output> {
    let isOver = false;
    const running = this.bash(text, env).finally(() => (isOver = true));
    // An error of the program itself goes first.
    running.catch(() => undefined);
    const { passed } = this.#way;
    for (const [i, moment] of moments.entries()) {
      const isGate = 'isNow' in moment;
      if (!isGate) this.#way.shutAt(passed + moment.passed);
      await until(
        () => isOver || (isGate ? moment.isNow() : this.#way.isShut),
        () => `moment ${i} of: ${text}`,
        PROGRAM_WITHIN,
      );
      if (isOver) {
        this.#way.reopen();
        await running;
        throw new Error(`this ended before the agent was killed ${i === 0 ? 'at all' : 'again'}: ${text}`);
      }
      await this.replaceAgent();
      if (isGate) moment.open();
    }
    return await running;
  }

  /** As root, gives what is at a place there to the account. */
  give(path: string): void {
    if (this.account) execFileSync('chown', ['-R', `${this.account.name}:`, path]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tryBash('sendall links stop');
    await ended(this.#spawnThere('agent', 'stop', '--runs'));
    if (this.#agent && this.#agent.exitCode === null && this.#agent.signalCode === null) {
      this.#agent.kill('SIGTERM');
      await once(this.#agent, 'exit');
    }
    this.#way[Symbol.dispose]();
    await removeHome(join(this.there, '.sendall'), 0);
    if (this.account) await removeAccount(this.account);
    else rmSync(this.there, { recursive: true, force: true });
    rmSync(this.#view, { recursive: true, force: true });
    await removeFolder(this.here);
  }
}
