/**
 * The agent: listens for callers, knows who may call, and hands their commands to the keeper. It holds no command
 * itself, so it may be killed and upgraded at any time.
 */
import { lstatSync, readFileSync, statfsSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { readInto, serve, type Connection } from '@sendall/socketserver';
import { RefusedError, SendallError, UsageError } from '../errors.js';
import { MAX_SOCKET_PATH, ensurePrivateFolder, resolveHome, type Home } from '../home.js';
import { durationOption, type Duration } from '../text/duration.js';
import { loadIdentity, type Identity } from '../keys/identity.js';
import { Link } from '../link/link.js';
import { Presence } from '../files/presence.js';
import { printable } from '../text/printable.js';
import { acceptPeer, exportBinding, serverTls } from '../link/tls.js';
import { formatTlsUrl, parseTlsUrl } from '../text/address.js';
import type { Control } from '../protocol/messages.js';
import { VERSION } from '../protocol/version.js';
import { Callers } from './callers.js';
import { setAsideFolders } from '../keeper/door/door.js';
import { KeeperGate } from './gate.js';
import { PairingDesk } from './pairing.js';
import { Resumes } from './resumes.js';
import { AgentSession, type Origin, type Principal } from './session.js';

/** Where an agent listens, and its limits. */
export interface AgentOptions {
  /** Folders of this installation. Default: from SENDALL_HOME and the XDG variables. */
  home?: Home;
  /** The name told to callers. Default: the machine's host name. */
  name?: string;
  /** More addresses beside the Unix socket: tls://HOST:PORT. */
  listen?: readonly string[];
  /** Milliseconds for a TLS handshake, and again for HELLO and AUTH. Default 5000. */
  handshakeTimeout?: Duration;
  /** Runs that one link may hold at once. Default 8192. */
  maxRunsPerLink?: number;
  /** Questions (lists, status) that one link may have open at once. Default 64. */
  maxQuestions?: number;
  /** Bytes of output read from disk that may wait for one link. Default 16 MiB. */
  readAhead?: number;
  /** Links at once. Default 4096. */
  maxConnections?: number;
  /** Milliseconds of silence after which a caller's link counts as lost. Default 60000. */
  pingDeadline?: Duration;
  /** Milliseconds that the keeper stays without an agent and without runs. Default 60000. */
  keeperIdleExit?: Duration;
}

const OPTION_NAMES: Record<keyof AgentOptions, true> = {
  home: true,
  name: true,
  listen: true,
  handshakeTimeout: true,
  maxRunsPerLink: true,
  maxQuestions: true,
  readAhead: true,
  maxConnections: true,
  pingDeadline: true,
  keeperIdleExit: true,
};

/** Answers to "status". */
export interface AgentStatus {
  readonly pid: number;
  readonly keeperPid: number | undefined;
  /** Another than `version` while commands run that were started before an upgrade. */
  readonly keeperVersion: string | undefined;
  readonly listening: readonly string[];
  readonly runs: number;
  readonly version: string;
  readonly fingerprint: string;
  readonly name: string;
  readonly links: number;
  /** How often callers came back to a run on another link, since the agent started. */
  readonly resumes: number;
  /** Bytes of output that were sent to them again, since the agent started. */
  readonly replayedBytes: number;
  readonly limits: AgentLimits;
  /** Bytes of output on the disk, and what is free there. */
  readonly spooled: number | undefined;
  readonly diskFree: number;
  /** The system calls that Node lacks are there: terminals, exact and ordered capture, another user's commands. */
  readonly native: boolean | undefined;
  /** "cgroup" or "unproven": how sure the end of a command's whole tree is. */
  readonly killProof: string | undefined;
  /** When memory runs out the kernel ends commands before the keeper: it could lower its own OOM score. */
  readonly keeperIsLastToGo: boolean | undefined;
  /** Folders with what was set aside because the run journal was damaged, the oldest first; until they are removed. */
  readonly setAside: readonly string[];
}

/** What the agent and its keeper hold at most. Sizes in bytes, times in milliseconds. */
export interface AgentLimits {
  readonly connections: number;
  readonly runsPerLink: number;
  /** Silence after which a link counts as lost. */
  readonly pingDeadline: number;
  /** Commands at one time; more wait. Undefined, like the rest, without a keeper. */
  readonly running: number | undefined;
  /** Output kept of one run, unless it asks for less, and of all. */
  readonly spool: number | undefined;
  readonly spoolTotal: number | undefined;
  /** How long a finished run is kept. */
  readonly keep: number | undefined;
}

/** Milliseconds that `stop` with the runs waits for their ends: the usual grace and some more. */
const END_PATIENCE = 8000;

type Server = Awaited<ReturnType<typeof serve>>;

/** Starts an agent in this process. Throws UsageError (options, folders, an agent that runs already). */
export async function openAgent(options: AgentOptions = {}): Promise<Agent> {
  for (const name of Object.keys(options))
    if (!(name in OPTION_NAMES)) throw new UsageError(`there is no agent option "${name}"`);
  const agent = new Agent(options);
  await agent.open();
  return agent;
}

/** An agent that runs in this process. */
export class Agent implements AsyncDisposable {
  readonly home: Home;
  readonly name: string;
  /** URLs that callers can use. */
  readonly listening: string[] = [];
  /** Resolves when the agent has stopped, asked from inside or outside. */
  readonly stopped: Promise<void>;
  readonly #options: AgentOptions;
  readonly #handshakeTimeout: number;
  readonly #pingDeadline: number;
  readonly #gate: KeeperGate;
  readonly #sessions = new Set<AgentSession>();
  readonly #resumes = new Resumes();
  readonly #servers: Server[] = [];
  #identity!: Identity;
  #callers!: Callers;
  #desk!: PairingDesk;
  #bootId = 'unknown';
  #presence: Presence | undefined;
  #closing: Promise<void> | undefined;
  #stopped!: () => void;

  /** @internal Use openAgent. */
  constructor(options: AgentOptions, gate?: KeeperGate) {
    this.#options = options;
    this.home = options.home ?? resolveHome();
    this.name = options.name ?? hostname();
    const idleExitMs = durationOption('keeperIdleExit', options.keeperIdleExit);
    this.#handshakeTimeout = durationOption('handshakeTimeout', options.handshakeTimeout) ?? 5000;
    this.#pingDeadline = durationOption('pingDeadline', options.pingDeadline) ?? 60_000;
    this.#gate = gate ?? new KeeperGate(this.home, idleExitMs === undefined ? {} : { idleExitMs });
    this.stopped = new Promise((resolve) => (this.#stopped = resolve));
  }

  /** SPKI fingerprint of this machine's key. */
  get fingerprint(): string {
    return this.#identity.fingerprint;
  }

  /** Gets ready for links that are made some other way, without listening. @internal */
  async prepare(): Promise<void> {
    const { home } = this;
    for (const folder of new Set([home.config, home.state, home.runtime])) ensurePrivateFolder(folder);
    if (Buffer.byteLength(home.agentSocket) > MAX_SOCKET_PATH)
      throw new UsageError(
        `the socket path ${home.agentSocket} is longer than ${MAX_SOCKET_PATH} bytes: set SENDALL_HOME to a shorter folder`,
      );
    this.#identity = await loadIdentity(home, { create: true });
    this.#callers = new Callers(home);
    this.#desk = new PairingDesk(this.#identity, this.#callers, { name: this.name });
    try {
      this.#bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    } catch {
      // Not Linux: a boot id only sharpens the reason why a run is lost.
    }
  }

  /** @internal */
  async open(): Promise<void> {
    await this.prepare();
    await this.#beTheOne();
    try {
      await this.#listenUnix();
      this.#presence!.watch(this.home.agentSocket, {
        // Two agents of one home do no harm: the keeper judges all runs.
        taken: () => undefined,
        unreachable: () => void this.#listenUnix().catch(() => undefined),
      });
      await this.#gate.open();
      for (const url of this.#options.listen ?? []) await this.#listenTls(url);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** Folders with what was set aside because the run journal was damaged, the oldest first; until they are removed. */
  get setAside(): string[] {
    return setAsideFolders(this.home);
  }

  /** One agent for a state folder. */
  async #beTheOne(): Promise<void> {
    const presence = await Presence.take(join(this.home.state, 'agent.owner'));
    if (!(presence instanceof Presence)) throw this.#runsAlready(presence.pid);
    this.#presence = presence;
  }

  #runsAlready(pid: number | undefined, cause?: unknown): UsageError {
    const who = pid === undefined ? '' : ` (pid ${pid})`;
    return new UsageError(
      `an agent${who} runs already on ${this.home.agentSocket}: stop it first (sendall agent stop)`,
      { cause },
    );
  }

  get status(): Promise<AgentStatus> {
    return this.#status();
  }

  /** A one-time code for a new caller. */
  issueCode(options: { ttlMs?: number } = {}): { code: string; fingerprint: string; expires: string } {
    return this.#desk.issue(options);
  }

  /** Serves a link, also one that was made some other way, for example in memory. `known`: it is clear who calls. @internal */
  adopt(link: Link, origin: Origin, known: () => void = () => undefined): AgentSession {
    const { handshakeTimeout, maxRunsPerLink, pingDeadline } = this.#limits;
    const { maxQuestions = 64, readAhead = 16 * 1024 * 1024 } = this.#options;
    const session = new AgentSession(link, origin, {
      home: this.home,
      gate: this.#gate,
      name: this.name,
      bootId: this.#bootId,
      resumes: this.#resumes,
      limits: { maxRunsPerLink, maxQuestions, readAhead, authTimeout: handshakeTimeout, pingDeadline },
      identify: (from) => {
        const principal = this.#identify(from);
        known();
        return principal;
      },
      pairing: (to, message, from) => this.#pair(to, message, from),
      answer: (what, body, from) => this.#answer(what, body, from),
    });
    this.#sessions.add(session);
    void session.closed.then(() => this.#sessions.delete(session));
    return session;
  }

  /** Stops listening and lets callers go. Commands go on in the keeper. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    for (const session of this.#sessions) session.goAway('the agent is stopping; commands go on');
    const stopped = this.#servers.map((server) => server.shutdown({ timeout: 1000 }));
    // It listens no more: the next agent need not wait for those that are still told.
    this.#presence?.release();
    await Promise.all(stopped);
    await this.#gate.close();
    this.#stopped();
  }

  async #listenUnix(): Promise<void> {
    const path = this.home.agentSocket;
    try {
      const server = await serve(
        { path, mode: 0o600, stale: 'replace' },
        (connection: Connection) => this.#serve(connection, { kind: 'local' }),
        this.#serverOptions(),
      );
      this.#add(server, `unix:${path}`);
    } catch (error) {
      if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === false)
        throw new UsageError(`${path} is not a socket: move it away`, { cause: error });
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') throw this.#runsAlready(undefined, error);
      throw error;
    }
  }

  async #listenTls(url: string): Promise<void> {
    const address = parseTlsUrl(url);
    const accept = async (connection: Connection) => {
      const socket = connection.socket as TLSSocket;
      const source = socket.remoteAddress ?? 'unknown';
      try {
        await this.#serve(connection, { kind: 'tls', peer: acceptPeer(socket), source });
      } catch (error) {
        if (!(error instanceof SendallError)) throw error;
        // Said on a link of its own: a peer without a key still learns why.
        new Link(socket).start({ message: () => undefined, closed: () => undefined }).fail(error);
      }
    };
    try {
      const server = await serve(address, accept, {
        ...this.#serverOptions(),
        tls: serverTls(this.#identity),
        // Strangers never keep callers out: when all places are taken, the oldest of theirs goes for a newcomer.
        establishedBy: 'handler',
      });
      const bound = server.serverAddress;
      this.#add(server, formatTlsUrl({ host: address.host, port: bound.port }));
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new UsageError(`cannot listen on ${url}: ${code === 'EADDRINUSE' ? 'the port is in use' : message}`, {
        cause: error,
      });
    }
  }

  get #limits() {
    const times = { handshakeTimeout: this.#handshakeTimeout, pingDeadline: this.#pingDeadline };
    return { maxConnections: 4096, maxRunsPerLink: 8192, ...this.#options, ...times };
  }

  #serverOptions() {
    const { handshakeTimeout, maxConnections } = this.#limits;
    // Silence is judged by PING, and writing by credit: a quiet link is not a dead one.
    const silence = { readTimeout: 0, writeTimeout: 0 };
    // Who waits for a place has a descriptor too: the limit is that of both.
    return { ...silence, handshakeTimeout, maxConnections, pendingConnections: 0, drainTimeout: 1000 };
  }

  #add(server: Server, url: string): void {
    this.#servers.push(server);
    if (!this.listening.includes(url)) this.listening.push(url);
  }

  async #serve(connection: Connection, origin: Origin): Promise<void> {
    const session = this.adopt(new Link(connection.socket, readInto), origin, () => connection.establish());
    await session.closed;
  }

  #identify(origin: Origin): Principal {
    if (origin.kind === 'local') return { name: 'owner', roles: ['owner'] };
    if (origin.kind === 'memory') return { name: origin.principal, roles: ['owner'] };
    const caller = this.#callers.find(origin.peer.spki);
    // There are no rules for others yet.
    if (caller && !caller.roles.includes('owner'))
      throw new RefusedError(
        `${caller.name} (${caller.roles.join(', ') || 'no role'}) is no owner: others may do nothing`,
      );
    if (caller) return { name: caller.principal, roles: caller.roles };
    throw new RefusedError(
      `this agent does not know the key ${origin.peer.fingerprint}: pair with it ("sendall pair --new" on its machine shows how)`,
    );
  }

  #pair(link: Link, message: Control, origin: Origin): void {
    if (origin.kind !== 'tls') throw new RefusedError('pairing is for TLS links: the local socket needs none');
    const socket = link.stream as TLSSocket;
    this.#desk.handle(link, message, origin.peer, exportBinding(socket), origin.source);
  }

  async #answer(what: string, body: unknown, origin: Origin): Promise<unknown> {
    if (what === 'ping') return {};
    if (what === 'status') return await this.#status();
    // The agent itself obeys only this machine's user.
    if (origin.kind === 'tls')
      throw new RefusedError(`"${printable(what, 40)}" is answered on the agent's own machine only`);
    const asked = (body ?? {}) as { ttlMs?: number; runs?: boolean };
    if (what === 'pair-new') return this.issueCode(asked.ttlMs === undefined ? {} : { ttlMs: asked.ttlMs });
    if (what === 'stop') return await this.#stop(asked.runs ?? false);
    if (what === 'callers-changed') return { ended: this.#endStrangers() };
    throw new SendallError(
      'UNKNOWN',
      `this agent cannot answer "${printable(what, 40)}": it may be older than the caller`,
    );
  }

  /** Ends the links of callers who would not be let in now. Returns how many those were. */
  #endStrangers(): number {
    let ended = 0;
    for (const { principal, origin, link } of this.#sessions)
      try {
        if (principal) this.#identify(origin);
      } catch (error) {
        link.fail(error as RefusedError);
        ended++;
      }
    return ended;
  }

  async #stop(endRuns: boolean): Promise<unknown> {
    const { runs } = await this.#status();
    if (endRuns) await this.#endRuns();
    setImmediate(() => void this.close());
    return { runs: endRuns ? 0 : runs, ended: endRuns ? runs : 0 };
  }

  /** Ends the commands and waits until their callers can be told, within bounds. */
  async #endRuns(): Promise<void> {
    await this.#gate.ask((opId) => ({ type: 'ASK', alias: 0, opId, what: 'end-runs' }));
    const until = performance.now() + END_PATIENCE;
    while ((await this.#status()).runs && performance.now() < until)
      await new Promise((resolve) => setTimeout(resolve, 20));
  }

  async #status(): Promise<AgentStatus> {
    const answer = await this.#gate.ask((opId) => ({ type: 'ASK', alias: 0, opId, what: 'status' }));
    const keeper = (answer.type === 'ANSWER' && answer.body ? JSON.parse(answer.body) : {}) as {
      running?: number;
      queued?: number;
      spoolBytes?: number;
      native?: boolean;
      proof?: string;
      lastToGo?: boolean;
      limits?: { maxRunning: number; spoolMax: number; spoolTotal: number; keepMs: number };
    };
    const { maxConnections: connections, maxRunsPerLink: runsPerLink, pingDeadline } = this.#limits;
    const { maxRunning: running, spoolMax: spool, spoolTotal, keepMs: keep } = keeper.limits ?? {};
    return {
      pid: process.pid,
      keeperPid: this.#gate.pid,
      keeperVersion: this.#gate.version,
      listening: this.listening,
      runs: (keeper.running ?? 0) + (keeper.queued ?? 0),
      version: VERSION,
      fingerprint: this.fingerprint,
      name: this.name,
      links: this.#sessions.size,
      resumes: this.#resumes.count,
      replayedBytes: this.#resumes.replayedBytes,
      limits: { connections, runsPerLink, pingDeadline, running, spool, spoolTotal, keep },
      spooled: keeper.spoolBytes,
      diskFree: freeBytes(this.home.state),
      native: keeper.native,
      killProof: keeper.proof,
      keeperIsLastToGo: keeper.lastToGo,
      setAside: this.setAside,
    };
  }
}

function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}
