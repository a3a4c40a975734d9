/** How the agent of an installation runs: as a service of systemd, or in the background where there is none. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { userInfo } from 'node:os';
import { SendallError } from '../../errors.js';
import { resolveHome } from '../../home.js';
import type { AgentStatus } from '../../index.js';
import { retireKeeper } from '../../internal.js';
import { engineWords } from '../words/engine-options.js';
import { agentStatus, startAgent, stopAgent, until } from '../hosts/agent-process.js';
import type { Installation, Layout } from './layout.js';
import { isUserUnit, unitFolder, writeUnits } from './systemd-units.js';

const KEEPER = 'sendall-keeper';
const AGENT = 'sendall-agent';
const UNITS = [KEEPER, AGENT];

/** Milliseconds for one call of systemctl. */
const SYSTEMCTL_WITHIN = 60_000;

type Words = Pick<Installation, 'name' | 'listen' | 'broker'>;
type Program = Pick<Installation, 'version' | 'node'>;

/** One way of running the agent. */
export interface Service {
  readonly kind: Installation['service'];
  /** The files it consists of. */
  readonly files: readonly string[];
  /** Starts the agent of this version. @throws with the reason; the agent does not run then. */
  start(installation: Words & Program): Promise<AgentStatus>;
  /** Replaces the agent by one of this version. Running commands go on in the keeper. */
  restart(installation: Words & Program): Promise<AgentStatus>;
  /**
   * Stops the agent for good, and its keeper, unless commands run and `runs` does not say that they end. False: one has
   * begun since the agent was asked, and the keeper ends with it.
   */
  remove(options: { runs: boolean }): Promise<boolean>;
}

/**
 * The service of an installation, or, for a new one, what this machine has for this user.
 * @throws when the units of another installation are in its place.
 */
export function serviceOf(layout: Layout, before: Installation | undefined): Service {
  const isSystemd = before ? before.service === 'systemd' : hasSystemd();
  return isSystemd ? new Systemd(layout) : new Background(layout);
}

/** What comes after `sendall agent`. */
export const agentWords = ({ name, listen, broker = {} }: Words): string[] => [
  '--name',
  name,
  ...listen.flatMap((url) => ['--listen', url]),
  ...engineWords(broker),
];

class Background implements Service {
  readonly kind = 'background';
  readonly files = [];
  readonly #layout: Layout;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  async start({ version, node, ...words }: Words & Program): Promise<AgentStatus> {
    try {
      await startAgent(agentWords(words), [node, this.#layout.program(version)]);
    } catch (error) {
      throw new SendallError('INSTALL', `the agent does not start: ${lastPart(error as Error)}`, { cause: error });
    }
    return await listening(words.listen);
  }

  async restart(installation: Words & Program): Promise<AgentStatus> {
    await this.#stop();
    return await this.start(installation);
  }

  async remove({ runs }: { runs: boolean }): Promise<boolean> {
    const before = await this.#stop(runs);
    if (before?.keeperPid === undefined) return true;
    // Without commands it would only wait for another agent.
    const isOver = runs || (await retireKeeper(resolveHome()));
    if (runs) await kill(before.keeperPid);
    else if (isOver) await ended(before.keeperPid);
    return isOver;
  }

  /** An agent may stop to answer before it has given its place free: its process must end. */
  async #stop(runs = false): Promise<AgentStatus | undefined> {
    if (!(await agentStatus())) return undefined;
    const before = await stopAgent({ runs });
    await ended(before.pid);
    return before;
  }
}

class Systemd implements Service {
  readonly kind = 'systemd';
  readonly files: readonly string[];
  readonly #layout: Layout;

  constructor(layout: Layout) {
    this.#layout = layout;
    this.files = UNITS.map((name) => join(unitFolder(), `${name}.service`));
    const foreign = this.files.find((path) => existsSync(path) && !readFileSync(path, 'utf8').includes(layout.root));
    if (foreign !== undefined)
      throw new SendallError(
        'INSTALL',
        `${foreign} is there already and belongs to another installation: disable and remove it, or pair with its agent`,
      );
  }

  async start(installation: Words & Program): Promise<AgentStatus> {
    this.#write(installation);
    systemctl('enable', ...UNITS);
    // An agent that finds no keeper starts one, and the unit's would come too late.
    systemctl('start', KEEPER);
    await until(async () => existsSync(resolveHome().keeperSocket), 'the keeper does not start');
    systemctl('start', AGENT);
    return await listening(installation.listen);
  }

  async restart(installation: Words & Program): Promise<AgentStatus> {
    systemctl('stop', AGENT);
    // A keeper with commands goes on with them, in its old version.
    if (await retireKeeper(resolveHome())) stopKeeper();
    return await this.start(installation);
  }

  async remove({ runs }: { runs: boolean }): Promise<boolean> {
    if (await agentStatus()) await stopAgent({ runs });
    const isOver = runs || (await retireKeeper(resolveHome()));
    if (isOver) stopKeeper();
    systemctl('disable', ...UNITS);
    systemctl('stop', AGENT);
    for (const path of this.files) rmSync(path, { force: true });
    systemctl('daemon-reload');
    return isOver;
  }

  #write({ version, node, ...words }: Words & Program): void {
    writeUnits({ words: agentWords(words), program: [node, this.#layout.program(version)] });
    systemctl('daemon-reload');
  }
}

/** Waits until the agent answers and listens there. @throws with what it lacks. */
async function listening(urls: readonly string[]): Promise<AgentStatus> {
  let status: AgentStatus | undefined;
  try {
    await until(
      async () => (status = await agentStatus())?.listening.some((each) => each.startsWith('tls:')) ?? false,
      '',
    );
  } catch {
    throw new SendallError(
      'INSTALL',
      `the agent does not come to listen on ${urls.join(' and ')}: see "journalctl -u sendall-agent" there`,
    );
  }
  return status!;
}

/** systemd runs this machine, and obeys this user. */
function hasSystemd(): boolean {
  if (!existsSync('/run/systemd/system')) return false;
  const uid = process.getuid?.() ?? 0;
  // A login by ssh may have no session of its own, while the user's manager runs.
  if (uid !== 0) process.env.XDG_RUNTIME_DIR ??= `/run/user/${uid}`;
  try {
    systemctl('show-environment');
    return true;
  } catch {
    return false;
  }
}

/** @throws SendallError with what systemctl said. */
function systemctl(...words: string[]): void {
  run('systemctl', ...(isUserUnit() ? ['--user'] : []), ...words);
}

/** It ignores SIGTERM, for its commands' sake; this one has none, or they are to end. */
function stopKeeper(): void {
  try {
    systemctl('kill', '--signal=KILL', KEEPER);
  } catch {
    // It does not run.
  }
  systemctl('stop', KEEPER);
  rmSync(resolveHome().keeperSocket, { force: true });
}

/** Lets this user's services run while the user is logged out. Undefined: they do already; false: it is not allowed. */
export function linger(on: boolean): boolean | undefined {
  const { username } = userInfo();
  if (on && existsSync(`/var/lib/systemd/linger/${username}`)) return undefined;
  try {
    run('loginctl', on ? 'enable-linger' : 'disable-linger');
    return true;
  } catch {
    return false;
  }
}

function run(program: string, ...words: string[]): void {
  try {
    execFileSync(program, words, { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'], timeout: SYSTEMCTL_WITHIN });
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string };
    throw new SendallError(
      'INSTALL',
      `${[program, ...words].join(' ')}: ${stderr?.trim().split('\n').at(-1) || message}`,
      {
        cause: error,
      },
    );
  }
}

/** Kills a process and waits for its end. */
async function kill(pid: number): Promise<void> {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended just now.
  }
  await ended(pid);
}

/** Waits for the end of a process; a zombie has ended. */
async function ended(pid: number): Promise<void> {
  const isThere = (): boolean => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1') !== '';
    } catch {
      return false;
    }
  };
  await until(async () => !isThere(), `process ${pid} does not end`);
}

/** What a program said, without what was said about it. */
const lastPart = ({ message }: Error): string => message.replace(/^.*the new one said: (?:sendall: )?/s, '');
