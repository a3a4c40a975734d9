/** The agent's door to the keeper: connects to the one that runs or starts one. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { SendallError } from '../../errors.js';
import { ensurePrivateFolder, MAX_SOCKET_PATH, type Home } from '../../home.js';
import { startVariable } from '../../started.js';
import { PROTOCOL_VERSION, type Control, type Message, type MessageNamed } from '../../protocol/messages.js';
import { VERSION } from '../../protocol/version.js';
import { ALREADY_RUNNING, completeLimits, type KeeperLimits } from './limits.js';
import { Wire } from './wire.js';

export { setAsideFolders } from '../journal/set-aside.js';
export { SpoolReader, spoolFolder } from '../output/spool.js';
export { completeLimits, DEFAULT_LIMITS, type KeeperLimits } from './limits.js';

/** A connection to the keeper. */
export interface KeeperLink {
  readonly pid: number;
  readonly version: string;
  /** Names the journal: 16 random bytes. */
  readonly epoch: Buffer;
  readonly bootId: string;
  /** stdin bytes the keeper takes ahead of a command. */
  readonly window: number;
  /** What it can do for callers. */
  readonly features: readonly string[];
  /** Aliases that may be in use at once. */
  readonly maxRuns: number;
  /** Messages of one tick go out in one write. False when a message is too long for a frame: it was not sent. */
  send(message: Control, alias?: number): boolean;
  sendData(alias: number, stream: number, gseq: number, offset: number, bytes: Uint8Array): void;
  /** More than a megabyte waits for the keeper. */
  readonly congested: boolean;
  /** Resolves when the connection is gone, with the reason when it was not `close`. */
  readonly closed: Promise<Error | undefined>;
  /** Sends what waits, then closes. The keeper and its commands go on. */
  close(): void;
}

/** How to find or start a keeper. */
export interface KeeperOptions {
  /** For a keeper that has to be started: milliseconds without agents and runs after which it ends. @default 60000 */
  idleExitMs?: number;
  /** For a keeper that has to be started; one that runs learns them by ASK limits. */
  limits?: Partial<KeeperLimits>;
  /** Milliseconds for a start and the greeting; a machine at work may need many seconds. @default 120000 */
  timeoutMs?: number;
  /** The keeper's program. @default main.js beside this file */
  program?: string;
  /** For a keeper that has to be started: without koffi, as where it cannot be loaded. @default false */
  plain?: boolean;
  /** For a keeper that has to be started: false does without cgroups. @default true */
  cgroups?: boolean;
  /** Additions to the keeper's environment, for tests. */
  env?: NodeJS.ProcessEnv;
}

/** Who listens to the keeper. */
export interface KeeperEvents {
  /** Called instead of `onMessage` for frames that are callers' business alone; see `isForCallers`. */
  onForward?(alias: number, frame: Buffer): void;
  /** Called for each message, synchronously for all of a chunk. DATA's bytes are valid inside the call only. */
  onMessage(message: Message): void;
  /** Called when the link is no longer congested. */
  onRoomy?(): void;
}

/** Its heap is small: threads that help to collect garbage cost more, woken for each little lot, than they save. */
const FLAGS = ['--single-threaded-gc'];

/** A keeper that cannot start says so, or ends: this is for one that hangs. */
const START_WITHIN = 120_000;
/** Milliseconds before a keeper that was just ending is looked for again, and for which its end may be waited for. */
const ENDING_PAUSE = 20;
const ENDING_WITHIN = 10_000;

/** What the keeper gets of the agent's environment: commands get a rebuilt one anyway. */
const PASSED_ON = ['HOME', 'LANG', 'LC_ALL', 'LC_CTYPE', 'PATH', 'TZ', 'USER', 'LOGNAME', 'SENDALL_FAULT'];

/**
 * Connects to this home's keeper, starting one when none runs. Two agents that do so at once end with the same
 * keeper.
 * @throws SendallError KEEPER when it cannot be started or does not answer in time.
 */
export async function ensureKeeper(home: Home, options: KeeperOptions & KeeperEvents): Promise<KeeperLink> {
  const limits = { ...options.limits };
  if (options.idleExitMs !== undefined) limits.idleExitMs = options.idleExitMs;
  completeLimits(limits);
  if (Buffer.byteLength(home.keeperSocket) > MAX_SOCKET_PATH)
    throw new SendallError(
      'KEEPER',
      `${home.keeperSocket} is longer than the ${MAX_SOCKET_PATH} bytes a socket's path may have: set SENDALL_HOME to a shorter one`,
    );
  ensurePrivateFolder(home.state);
  ensurePrivateFolder(home.runtime);
  const deadline = performance.now() + (options.timeoutMs ?? START_WITHIN);
  let endsBy = Infinity;
  for (;;) {
    const socket = await dial(home.keeperSocket);
    if (socket) {
      const link = await greet(socket, options, deadline);
      if (link) return link;
      // A keeper that is ending serves no more agents, and another one can start when it has gone.
      const now = performance.now();
      if (now > endsBy) throw new SendallError('KEEPER', 'the keeper closed the connection');
      endsBy = Math.min(endsBy, now + ENDING_WITHIN);
      await pause(ENDING_PAUSE);
    } else await startKeeper(home, limits, options, deadline);
    if (performance.now() > deadline) throw new SendallError('KEEPER', 'the keeper did not come up in time');
  }
}

/**
 * Asks this home's keeper to end as soon as it has no command. True: it ends now, or there was none. False: it goes on for
 * commands, also for one that has just begun.
 * @throws SendallError KEEPER when its socket cannot be used.
 */
export async function retireKeeper(home: Home): Promise<boolean> {
  const socket = await dial(home.keeperSocket);
  if (!socket) return true;
  const [RETIRE, STATUS] = [1, 2];
  let goOn!: (isOver: false) => void;
  const goesOn = new Promise<false>((resolve) => (goOn = resolve));
  const onMessage = (message: Message): void => {
    if (message.type === 'ANSWER' && message.opId === STATUS) goOn(false);
  };
  // One of another protocol goes on for its commands: without any, it ends at this greeting.
  const link = await greet(socket, { onMessage }, performance.now() + START_WITHIN).catch(() => false as const);
  if (!link) return link === undefined;
  link.send({ type: 'ASK', alias: 0, opId: RETIRE, what: 'retire' });
  // One that ends does not come to answer this.
  link.send({ type: 'ASK', alias: 0, opId: STATUS, what: 'status' });
  const isOver = await Promise.race([link.closed.then(() => true), goesOn]);
  link.close();
  return isOver;
}

/** A connected socket; undefined when no keeper listens there. */
function dial(path: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(undefined);
      else reject(new SendallError('KEEPER', `the keeper's socket cannot be used: ${error.message}`, { cause: error }));
    });
  });
}

/** Starts a keeper in a session of its own and waits until it is ready, or until another turns out to be. */
async function startKeeper(
  home: Home,
  limits: Partial<KeeperLimits>,
  options: KeeperOptions,
  deadline: number,
): Promise<void> {
  const program = options.program ?? fileURLToPath(new URL('../main.js', import.meta.url));
  const env: NodeJS.ProcessEnv = { ...startVariable(), ...options.env };
  for (const name of PASSED_ON) env[name] ??= process.env[name];
  const config = JSON.stringify({ home, limits, plain: options.plain ?? false, cgroups: options.cgroups ?? true });
  const child = spawn(process.execPath, [...FLAGS, program, config], {
    detached: true,
    cwd: '/',
    env,
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  child.unref();
  // Not there when the process could not be made for want of descriptors.
  const ready = child.stdio?.[3] as Readable | undefined;
  let word = '';
  ready?.setEncoding('utf8').on('data', (text: string) => (word += text));
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(
      () => {
        child.kill('SIGKILL');
        reject(new SendallError('KEEPER', 'the keeper did not start in time'));
      },
      Math.max(deadline - performance.now(), 0),
    );
    const settle = (end?: string): void => {
      clearTimeout(timer);
      child.removeAllListeners();
      if (word === 'ready' || (word === '' && end === undefined)) resolve();
      else reject(new SendallError('KEEPER', `the keeper could not start: ${word || end}`));
    };
    ready?.once('close', () => {
      if (word) settle();
    });
    child.once('close', (code, signal) => {
      if (word) settle();
      // It ended at once because another one has the lock.
      else if (code === ALREADY_RUNNING || code === 0) settle();
      else
        settle(`it ended with ${signal ?? code} before it could say why; look at the limits on memory and processes`);
    });
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(new SendallError('KEEPER', `the keeper could not start: ${error.message}`, { cause: error }));
    });
  });
}

/** Greets the keeper; undefined when it closes the connection without a word, as one that ends does. */
function greet(socket: Socket, options: KeeperEvents, deadline: number): Promise<KeeperLink | undefined> {
  return new Promise((resolve, reject) => {
    let heard = false;
    let greeted = false;
    let linked = false;
    let close: (error: Error | undefined) => void;
    const closed = new Promise<Error | undefined>((done) => (close = done));
    const timer = setTimeout(
      () => {
        wire.destroy();
        reject(new SendallError('KEEPER', 'the keeper did not answer in time'));
      },
      Math.max(deadline - performance.now(), 0),
    );
    const wire = new Wire(socket, {
      ...(options.onForward ? { forward: options.onForward.bind(options) } : {}),
      message(message) {
        if (linked) return options.onMessage(message);
        heard = true;
        if (message.type === 'HELLO_OK') greeted = true;
        else if (message.type === 'LINK_ERROR')
          reject(new SendallError('KEEPER', `the keeper does not agree: ${message.message}`));
        else if (message.type === 'AUTH_OK' && greeted) {
          linked = true;
          clearTimeout(timer);
          resolve(linkOf(wire, closed, message));
        }
        return undefined;
      },
      roomy: () => options.onRoomy?.(),
      closed(error) {
        clearTimeout(timer);
        close(error);
        const code = (error as NodeJS.ErrnoException | undefined)?.code;
        if (!heard && (!error || code === 'ECONNRESET' || code === 'EPIPE')) return resolve(undefined);
        return reject(new SendallError('KEEPER', 'the keeper closed the connection', { cause: error }));
      },
    });
    wire.send({
      type: 'HELLO',
      alias: 0,
      protoMin: PROTOCOL_VERSION,
      protoMax: PROTOCOL_VERSION,
      name: 'agent',
      nonce: randomBytes(16),
      features: [],
      clockMs: Date.now(),
      version: VERSION,
    });
  });
}

function linkOf(
  wire: Wire,
  closed: Promise<Error | undefined>,
  { pid = 0, version = '', bootId = '', window = 0, maxRuns = 0, epoch, features }: MessageNamed<'AUTH_OK'>,
): KeeperLink {
  return {
    pid,
    version,
    bootId,
    window,
    maxRuns,
    epoch: Buffer.from(epoch),
    features,
    closed,
    send: (message, alias) => wire.send(message, alias),
    sendData: (...piece) => wire.sendData(...piece),
    get congested() {
      return wire.congested;
    },
    close: () => wire.close(),
  };
}
