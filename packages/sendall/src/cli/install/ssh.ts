/** One connection of the system's own ssh to a host, over which the script of `bootstrap.ts` answers line by line. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { decodeAsync, lines } from '@sendall/framing';
import { RefusedError, SendallError, UnreachableError, UsageError } from '../../errors.js';
import type { Bootstrap } from './bootstrap.js';
import { MARK } from './dialogue.js';

/** Longest line from a host; longer ones are a login's own and are skipped. */
const MAX_LINE = 64 * 1024;
/** Bytes of ssh's stderr that are kept, the last ones. */
const MAX_SAID = 8192;
/** Bytes of an archive that are written at once. */
const PIECE = 256 * 1024;
/** The host has answered before the end of an archive. */
const OVER = 'over';
/** Milliseconds for `ssh -G`, which connects to nothing. */
const CONFIG_WITHIN = 10_000;

/** Settings of ours; the user's, on the command line, come before them and win. */
const SETTINGS = [
  'RemoteCommand=none',
  'ClearAllForwardings=yes',
  'ForwardAgent=no',
  'ConnectTimeout=30',
  'ServerAliveInterval=15',
  'ServerAliveCountMax=4',
];

/** The program and options of `--ssh`: words, in quotes where they hold blanks. */
export function sshWords(text: string): string[] {
  const words = text.match(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g) ?? [];
  if (!words.length || !/^(?:[^'"]|'[^']*'|"[^"]*")*$/.test(text))
    throw new UsageError(`--ssh: ${JSON.stringify(text)} is no command line: write for example --ssh 'ssh -p 2222'`);
  return words.map((word) => word.replaceAll(/(['"])(.*?)\1/g, '$2'));
}

/** What ssh makes of a destination: its configuration files apply. */
export interface Resolved {
  readonly hostname: string;
  /** The machine or program that ssh goes through. */
  readonly through: string | undefined;
}

/** Asks ssh what it makes of a destination; undefined when it cannot say. Connects to nothing. */
export async function resolveDestination(ssh: readonly string[], destination: string): Promise<Resolved | undefined> {
  const [program, ...words] = ssh;
  try {
    const options = { timeout: CONFIG_WITHIN, maxBuffer: 1024 * 1024 };
    const asked = promisify(execFile)(program!, [...words, '-G', '--', destination], options);
    asked.child.stdin?.end();
    const { stdout } = await asked;
    const value = (name: string) => new RegExp(`^${name} (.+)$`, 'm').exec(stdout)?.[1];
    const through = value('proxyjump') ?? value('proxycommand');
    return { hostname: value('hostname') ?? destination, through: through === 'none' ? undefined : through };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new UsageError(
        `there is no program "${program}" here: install OpenSSH's client, or name another with --ssh`,
        {
          cause: error,
        },
      );
    return undefined;
  }
}

export interface ChannelOptions {
  readonly ssh: readonly string[];
  readonly destination: string;
  readonly bootstrap: Bootstrap;
  /** Never ask for passwords: several hosts at once would ask on one terminal. */
  readonly batch: boolean;
  readonly signal: AbortSignal;
}

export class Channel {
  readonly #options: ChannelOptions;
  readonly #child: ChildProcess & { stdin: Writable; stdout: Readable; stderr: Readable };
  readonly #lines: AsyncIterator<string>;
  readonly #closed: Promise<unknown>;
  #said = '';

  constructor(options: ChannelOptions) {
    this.#options = options;
    const { ssh, destination, bootstrap, batch, signal } = options;
    const settings = [...SETTINGS, ...(batch ? ['BatchMode=yes'] : [])].flatMap((each) => ['-o', each]);
    const [program, ...words] = ssh;
    const child = spawn(program!, [...words, '-T', ...settings, '--', destination, bootstrap.command], {
      stdio: ['pipe', 'pipe', 'pipe'],
      signal,
    });
    this.#child = child;
    // What ssh or the host has to say about it comes another way.
    child.stdin.on('error', () => undefined);
    child.on('error', ({ message }) => (this.#said ||= message));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#said = (this.#said + text).slice(-MAX_SAID)));
    this.#closed = once(child, 'close').catch(() => undefined);
    this.#lines = this.#read();
    child.stdin.write(bootstrap.script);
  }

  async *#read(): AsyncGenerator<string> {
    const framing = lines({ maxFrameLength: MAX_LINE, onOversize: 'skip', onEnd: 'discard' });
    for await (const line of decodeAsync(this.#child.stdout, framing)) {
      const text = line.toString();
      if (text.startsWith(`${MARK} `)) yield text.slice(MARK.length + 1);
    }
  }

  /** The next line of the script; undefined at the end of the connection. */
  async next(): Promise<string | undefined> {
    const { value, done } = (await this.#lines.next()) as IteratorResult<string>;
    return done ? undefined : value;
  }

  /**
   * The next line that is not `failed`.
   * @throws SendallError with why it failed, or why the connection ended.
   */
  async line(): Promise<string> {
    const line = await this.next();
    if (line === undefined) throw await this.#ended();
    if (line.startsWith('failed ')) throw new SendallError('INSTALL', line.slice(7));
    return line;
  }

  /** Sends a line, expects one that begins with `answer`, and returns the rest. */
  async ask(words: string, answer: string): Promise<string> {
    this.send(words);
    const line = await this.line();
    if (line !== answer && !line.startsWith(`${answer} `))
      throw new SendallError(
        'INSTALL',
        `the host answered ${JSON.stringify(line.slice(0, 80))} instead of "${answer}"`,
      );
    return line.slice(answer.length + 1);
  }

  send(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Sends an archive and waits for the host's word on it. */
  async sendArchive(archive: Buffer, progress: (sent: number) => void): Promise<void> {
    const answer = this.line();
    const over = answer.then(
      () => OVER,
      () => OVER,
    );
    const { stdin } = this.#child;
    for (let at = 0; at < archive.length; at += PIECE) {
      const isTaken = stdin.write(archive.subarray(at, at + PIECE));
      // After an error nothing drains, and the answer tells why.
      const drained = isTaken || once(stdin, 'drain').catch(() => over);
      if ((await Promise.race([over, drained])) === OVER) break;
      progress(Math.min(at + PIECE, archive.length));
    }
    const line = await answer;
    if (line !== 'copied') throw new SendallError('INSTALL', `the host answered ${JSON.stringify(line.slice(0, 80))}`);
  }

  /** Ends our side and waits for the host's. Returns its last lines; the script's very last one is "over". */
  async end(): Promise<readonly string[]> {
    this.#child.stdin.end();
    const last: string[] = [];
    for (let line = await this.next(); line !== undefined; line = await this.next()) last.push(line);
    await this.#closed;
    return last;
  }

  /** Ends it at once. The host notices. */
  kill(): void {
    this.#child.kill();
  }

  /** Why the connection ended. */
  async #ended(): Promise<SendallError> {
    await this.#closed;
    const { destination, signal } = this.#options;
    if (signal.aborted) return new UnreachableError('it took too long (--timeout TIME gives it more)');
    const said = this.#said.trim().split('\n').at(-1)?.trim() ?? '';
    const why = said || `ssh ended with ${this.#child.signalCode ?? this.#child.exitCode}`;
    const ssh = [...this.#options.ssh, destination].join(' ');
    if (/host key|identification has changed/i.test(this.#said))
      return new RefusedError(`ssh does not trust the host’s key (${why}): type "${ssh}" once and check it`);
    if (/permission denied|too many authentication failures/i.test(said))
      return new RefusedError(`ssh is not let in (${why}): see that "${ssh}" works`);
    if (/sudo/.test(said))
      return new RefusedError(
        `sudo does not work there without a password (${why}): let this user use it, or give root@… as the destination`,
      );
    if (this.#child.exitCode === 255)
      return new UnreachableError(`ssh does not get there (${why}): see that "${ssh}" works`);
    return new UnreachableError(`the connection ended too early (${why}): see that "${ssh}" works`);
  }
}
