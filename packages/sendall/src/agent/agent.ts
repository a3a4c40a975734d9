/**
 * The agent: listens for callers, knows who may call, and hands their commands to the keeper. It holds no command
 * itself, so it may be killed and upgraded at any time.
 */
import { lstatSync, readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { readInto, serve, sourceOf, type Connection, type ServerOptions } from '@sendall/socketserver';
import { RefusedError, SendallError, UnreachableError, UsageError } from '../errors.js';
import { MAX_SOCKET_PATH, ensurePrivateFolder, type Home } from '../home.js';
import { parseFingerprint } from '../keys/fingerprint.js';
import { loadIdentity, type Identity } from '../keys/identity.js';
import { connectionOf } from '../link/ends.js';
import { Link } from '../link/link.js';
import { Presence } from '../files/presence.js';
import { printable } from '../text/printable.js';
import { after } from '../timer.js';
import { acceptPeer, exportBinding, serverTls } from '../link/tls.js';
import type { NatsListener } from '../link/nats/listen.js';
import { formatTlsUrl, parseTlsUrl } from '../text/address.js';
import type { Control } from '../protocol/messages.js';
import { VERSION } from '../protocol/version.js';
import { isOwner } from './admission/admission.js';
import { Callers, checkRights, forCallers, type Rights } from './callers/callers.js';
import { setAsideFolders } from '../keeper/door/door.js';
import { PolicyFile } from '../policy/policy-file.js';
import { OWNER, type Policy } from '../policy/rules.js';
import { KeeperGate } from './gate.js';
import { limitsByName, type AgentLimitName } from './limits.js';
import { LogDesk } from './log/log-desk.js';
import { Notes } from './log/notes.js';
import { completeAgentOptions, givenLimits, type AgentOptions, type AgentSettings } from './options.js';
import type { Origin, Principal } from './callers/origin.js';
import { KnownSources } from './callers/known-sources.js';
import { PairingDesk, type IssuedCode } from './callers/pairing.js';
import { Principals } from './admission/principals.js';
import { Readmission } from './admission/readmission.js';
import { answerPolicy } from './admission/policy-question.js';
import { answerRules } from './admission/policy-rules.js';
import { Resumes } from './streams/resumes.js';
import { AgentSession } from './session.js';
import { freeBytes, keeperPartOf, type AgentStatus, type PolicyStatus } from './status.js';
import { watchFiles } from './callers/watch-files.js';

/** Milliseconds that `stop` with the runs waits for their ends: the usual grace and some more. */
const END_PATIENCE = 8000;
/** Milliseconds for the last head when the agent ends. */
const LAST_HEAD = 2000;
/** File descriptors that local callers leave to the rest of the agent. Links over the network leave more. */
const LOCAL_RESERVE = 16;

/** Who uses the Unix socket: this machine's user. */
const LOCAL: Principal = { name: OWNER, roles: [OWNER] };

type Server = Awaited<ReturnType<typeof serve>>;

/**
 * Starts an agent in this process.
 * @throws UsageError for wrong options, folders that cannot be used, an agent that runs already.
 */
export async function openAgent(options: AgentOptions = {}): Promise<Agent> {
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
  readonly #settings: AgentSettings;
  readonly #givenLimits: ReturnType<typeof givenLimits>;
  readonly #gate: KeeperGate;
  readonly #policy: PolicyFile;
  /** The rules by which everything was looked at. */
  #reviewed: Policy | undefined;
  readonly #readmission: Readmission;
  readonly #sessions = new Set<AgentSession>();
  readonly #resumes = new Resumes();
  readonly #principals: Principals;
  /** Undefined where no address is listened on. */
  #knownSources: KnownSources | undefined;
  readonly #servers: Server[] = [];
  readonly #brokers: NatsListener[] = [];
  #identity!: Identity;
  #callers!: Callers;
  #desk!: PairingDesk;
  #log!: LogDesk;
  readonly #notes: Notes;
  #bootId = 'unknown';
  #presence: Presence | undefined;
  #unwatch: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  #stopped!: () => void;

  /** @internal Use openAgent. */
  constructor(options: AgentOptions, gate?: KeeperGate, policy?: PolicyFile) {
    this.#settings = completeAgentOptions(options);
    this.#givenLimits = givenLimits(options);
    const { home, name, keeperLimits: limits } = this.#settings;
    this.home = home;
    this.name = name;
    this.#principals = new Principals(this.#settings);
    this.#gate = gate ?? new KeeperGate(home, { limits });
    this.#policy = policy ?? new PolicyFile(home.policyFile);
    this.#policy.onChange = () => this.#reviewPolicy();
    this.#readmission = new Readmission({
      gate: this.#gate,
      policy: this.#policy,
      sessions: this.#sessions,
      principal: (principal) => this.#principal(principal),
    });
    this.#notes = new Notes(this.#gate);
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
    // Not while a caller is being looked up.
    this.#callers = new Callers(home, () => setImmediate(() => this.#readmission.begin()));
    this.#desk = new PairingDesk(this.#identity, this.#callers, {
      name: this.name,
      tell: (outcome, record) => {
        if (outcome === 'paired') this.#notes.tell('pair', record);
        else this.#notes.turnedAway(`${outcome} ${String(record.source)}`, { ...record, what: 'pairing failed' });
      },
    });
    this.#log = new LogDesk(home, this.#identity, this.#gate);
    try {
      this.#bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    } catch {
      // Not Linux: a boot id only sharpens the reason why a run is lost.
    }
  }

  /** @internal */
  async open(): Promise<void> {
    // Makes the threads that Node makes at their first use: at the limit on processes that would end the agent later.
    await stat('/');
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
      // What runs and waits is looked at by the rules that there are.
      await this.#policy.settled();
      this.#watchFiles();
      this.#notes.tell('agent started', { version: VERSION, pid: process.pid });
      for (const url of this.#settings.listen)
        await (/^nats:/i.test(url) ? this.#listenNats(url) : this.#listenTls(url));
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** What callers may do follows its files at once, and as they are now: they may have changed while no agent ran. */
  #watchFiles(): void {
    const { callersFile, policyFile } = this.home;
    const look = (): void => {
      // A wrong list lets no caller in. Those who ask are told.
      void this.#callersProblem;
      this.#reviewPolicy();
    };
    look();
    this.#unwatch = watchFiles([callersFile, policyFile], look);
    this.#readmission.begin();
  }

  get #policyStatus(): PolicyStatus {
    const { policy, problem, isRoot } = this.#policy;
    const { rev, sha256, rules } = policy;
    return { rev, sha256, rules: rules.length, problem: problem?.message, isRoot };
  }

  get #callersProblem(): string | undefined {
    try {
      this.#callers.look();
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }

  #reviewPolicy(): void {
    const { policy } = this.#policy;
    if (policy === this.#reviewed) return;
    this.#reviewed = policy;
    const { rev, sha256 } = policy;
    if (rev) this.#notes.tell('policy', { rev, sha256: sha256 || undefined });
    this.#readmission.begin();
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

  /**
   * A one-time code for a new caller. Without a principal it lets in an owner.
   * @throws UsageError for wrong rights, and for other callers than owners where the agent is not root.
   */
  issueCode(options: { ttlMs?: number } & Rights = {}): IssuedCode {
    checkRights(options);
    const { principal = OWNER, roles = this.#callers.rolesOf(principal) ?? [] } = options;
    if (principal !== OWNER && !roles.includes(OWNER) && !this.#policy.isRoot)
      throw new UsageError(
        `this agent is not root, so it serves owners only, and ${principal} would be none: sendall agent install --system sets up one that is root`,
      );
    return this.#desk.issue(options);
  }

  /** Serves a link, also one that was made some other way, for example in memory. `known`: it is clear who calls. @internal */
  adopt(link: Link, origin: Origin, known: () => void = () => undefined): AgentSession {
    const { handshakeTimeout, maxRunsPerLink, pingDeadline, maxQuestions, readAhead, maxAttachmentsPerPrincipal } =
      this.#settings;
    const session = new AgentSession(link, origin, {
      home: this.home,
      gate: this.#gate,
      name: this.name,
      bootId: this.#bootId,
      resumes: this.#resumes,
      principals: this.#principals,
      limits: {
        maxRunsPerLink,
        maxQuestions,
        readAhead,
        authTimeout: handshakeTimeout,
        pingDeadline,
        maxAttachmentsPerPrincipal,
      },
      identify: (from) => {
        const principal = this.#admitted(from);
        known();
        return principal;
      },
      policy: this.#policy,
      refused: (record) => this.#notes.refused(record),
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
    this.#unwatch?.();
    this.#policy.close();
    for (const session of this.#sessions) session.goAway('the agent is stopping; commands go on');
    const stopped: Promise<unknown>[] = this.#servers.map((server) => server.shutdown({ timeout: 1000 }));
    stopped.push(...this.#brokers.map((broker) => broker.close()));
    // It listens no more: the next agent need not wait until all callers have heard of the end.
    this.#presence?.release();
    await Promise.all(stopped);
    this.#notes.close();
    // Before it is ready, nothing has started.
    if (this.#gate.pid !== undefined) {
      this.#notes.tell('agent stopped', { pid: process.pid });
      await this.#signLast();
    }
    await this.#gate.close();
    this.#stopped();
  }

  /** The newest head is on the disk, signed, while no agent runs. A keeper that stands still keeps no agent from ending. */
  async #signLast(): Promise<void> {
    let stop: (() => void) | undefined;
    const late = new Promise<void>((resolve) => (stop = after(LAST_HEAD, resolve)));
    await Promise.race([this.#log.head(), late]).catch(() => undefined);
    stop?.();
  }

  async #listenUnix(): Promise<void> {
    const path = this.home.agentSocket;
    try {
      const server = await serve(
        { path, mode: 0o600, stale: 'replace' },
        (connection: Connection) => this.#serve(connection, { kind: 'local' }),
        // A flood over the network cannot use up what the local socket needs.
        { ...this.#serverOptions(), fdReserve: LOCAL_RESERVE },
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
    const { maxConnectionsPerSource, maxUnestablishedPerSource, reservedPerSource, maxFailedSources } = this.#settings;
    const known = (this.#knownSources ??= new KnownSources(this.home, this.#settings));
    const accept = async (connection: Connection) => {
      const socket = connection.socket as TLSSocket;
      const source = socket.remoteAddress ?? 'unknown';
      try {
        const peer = acceptPeer(socket);
        // A key that is known keeps its place from here on, whatever else comes from its address.
        if (this.#callers.find(peer.spki)) {
          this.#establish(connection);
          known.note(sourceOf(source));
        }
        await this.#serve(connection, { kind: 'tls', peer, source, connection: connectionOf(socket) });
      } catch (error) {
        if (!(error instanceof SendallError)) throw error;
        // Said on a link of its own: a peer without a key still learns why.
        new Link(socket).start({ message: () => undefined, closed: () => undefined }).fail(forCallers(error));
      }
    };
    try {
      const server = await serve(address, accept, {
        ...this.#serverOptions(),
        tls: serverTls(this.#identity),
        // Strangers never keep callers out: when all places are taken, the oldest of theirs goes for a newcomer.
        establishedBy: 'handler',
        maxConnectionsPerSource,
        maxUnestablishedPerSource,
        reservedPerSource,
        maxFailedSources,
        isKnownSource: (source) => known.has(source),
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

  /** Links through a broker. One that does not answer now is tried again and again. */
  async #listenNats(url: string): Promise<void> {
    const { handshakeTimeout, maxConnections, maxBrokerStrangers, maxBrokerHandshakes, broker } = this.#settings;
    const { NatsListener } = await import('../link/nats/listen.js');
    const listener = await NatsListener.open({
      engine: { url, ...broker },
      identity: this.#identity,
      handshakeTimeout,
      maxLinks: maxConnections,
      maxStrangers: maxBrokerStrangers,
      maxHandshakes: maxBrokerHandshakes,
      isKnown: (spki) => this.#isKnown(spki),
      card: async () => {
        const { epoch } = await this.#gate.open();
        return { name: this.name, version: VERSION, epoch: Buffer.from(epoch).toString('hex') };
      },
      accept: (socket, peer, established) =>
        void this.adopt(new Link(socket), { kind: 'tls', peer, source: 'the broker' }, established),
    });
    this.#brokers.push(listener);
    this.listening.push(listener.url);
  }

  /** Of a list that is wrong no key is known; its caller hears of that inside TLS. */
  #isKnown(spki: Uint8Array): boolean {
    try {
      return this.#callers.find(spki) !== undefined;
    } catch {
      return false;
    }
  }

  /** Brokers that do not let callers reach us now, each with the reason. */
  get unreached(): { readonly url: string; readonly reason: string }[] {
    return this.#brokers.flatMap(({ url, trouble: reason }) => (reason === undefined ? [] : [{ url, reason }]));
  }

  #serverOptions(): ServerOptions {
    const { handshakeTimeout, maxConnections } = this.#settings;
    // Silence is judged by PING, and writing by credit: a quiet link is not a dead one.
    const silence = { readTimeout: 0, writeTimeout: 0 };
    // A connection that waits for a place has a descriptor too: the limit counts both.
    return { ...silence, handshakeTimeout, maxConnections, pendingConnections: 0, drainTimeout: 1000 };
  }

  #add(server: Server, url: string): void {
    this.#servers.push(server);
    if (!this.listening.includes(url)) this.listening.push(url);
  }

  async #serve(connection: Connection, origin: Origin): Promise<void> {
    const session = this.adopt(new Link(connection.socket, readInto), origin, () => this.#establish(connection));
    await session.closed;
  }

  /** The caller is known: its link stays, unless its source has too many. Those that were lost end soon. */
  #establish(connection: Connection): void {
    if (connection.establish() || connection.closed) return;
    const source = 'host' in connection.peer ? sourceOf(connection.peer.host) : '';
    const { maxConnectionsPerSource } = this.#settings;
    throw new UnreachableError(
      `${source} has ${maxConnectionsPerSource} links to this agent already (maxConnectionsPerSource): close some of them`,
    );
  }

  /** As `identify`, and the log hears of those who are not let in. */
  #admitted(origin: Origin): Principal {
    try {
      return this.#identify(origin);
    } catch (error) {
      const { message: reason } = error as Error;
      if (origin.kind === 'tls')
        this.#notes.turnedAway(`away ${sourceOf(origin.source)}`, {
          caller: origin.peer.fingerprint,
          source: origin.source,
          reason,
        });
      throw error;
    }
  }

  #identify(origin: Origin): Principal {
    if (origin.kind === 'local') return LOCAL;
    if (origin.kind === 'memory') return { name: origin.principal, roles: [OWNER] };
    const caller = this.#callers.get(origin.peer.fingerprint);
    if (!caller)
      throw new RefusedError(
        `this agent does not know the key ${origin.peer.fingerprint}: pair with it ("sendall pair --new" on its machine shows how)`,
      );
    const principal = { name: caller.principal, roles: caller.roles };
    if (!isOwner(principal)) this.#reviewPolicy();
    // Another's commands must have a user that cannot reach the agent, and only root can give them one.
    if (!isOwner(principal) && !this.#policy.isRoot)
      throw new RefusedError(
        `this agent is not root, so it serves owners only, and ${principal.name} (${principal.roles.join(', ') || 'no role'}) is none: ` +
          'sendall agent install --system sets up one that is root',
      );
    return principal;
  }

  /** Who asks. What is wrong with the list of callers is not for them. */
  #asker(origin: Origin): Principal {
    try {
      return this.#identify(origin);
    } catch (error) {
      throw forCallers(error as SendallError);
    }
  }

  /** Who a principal is now; undefined when no key is its. */
  #principal(name: string): Principal | undefined {
    if (name === OWNER) return LOCAL;
    for (const { origin, principal } of this.#sessions)
      if (origin.kind === 'memory' && principal === name) return this.#identify(origin);
    const roles = this.#callers.rolesOf(name);
    return roles && { name, roles };
  }

  #pair(link: Link, message: Control, origin: Origin): void {
    if (origin.kind !== 'tls') throw new RefusedError('pairing is for TLS links: the local socket needs no pairing');
    const socket = link.stream as TLSSocket;
    this.#desk.handle(link, message, origin.peer, exportBinding(socket), origin.source);
  }

  async #answer(what: string, body: unknown, origin: Origin): Promise<unknown> {
    if (what === 'ping') return {};
    if (what === 'status') return await this.#statusFor(this.#identify(origin));
    if (what.startsWith('log-')) {
      if (!this.#identify(origin).roles.includes('owner')) throw new RefusedError('the log is for owners only');
      return await this.#log.answer(what, body, origin.kind === 'local');
    }
    if (what === 'policy-test')
      return answerPolicy(this.#policy, body, this.#asker(origin), (principal) => this.#rolesOf(principal));
    if (what === 'policy-rules') {
      if (!isOwner(this.#asker(origin))) throw new RefusedError('the policy is shown to owners only');
      return answerRules(this.#policy, body);
    }
    // The agent itself obeys only this machine's user.
    if (origin.kind === 'tls')
      throw new RefusedError(`"${printable(what, 40)}" is answered on the agent's own machine only`);
    const asked = (body ?? {}) as { ttlMs?: number; runs?: boolean } & Rights;
    if (what === 'pair-new') {
      const { ttlMs, principal, roles } = asked;
      return this.issueCode({ ...(ttlMs !== undefined && { ttlMs }), principal, roles });
    }
    if (what === 'stop') return await this.#stop(asked.runs ?? false);
    if (what === 'remove-caller') return await this.#removeCaller((body ?? {}) as { fingerprint?: unknown });
    if (what === 'callers-changed') return await this.#admitAgain();
    throw new SendallError(
      'UNKNOWN',
      `this agent cannot answer "${printable(what, 40)}": it may be older than the caller`,
    );
  }

  /** Removes a key, and says how many links ended for it. */
  async #removeCaller({ fingerprint }: { fingerprint?: unknown }): Promise<unknown> {
    const caller = parseFingerprint(typeof fingerprint === 'string' ? fingerprint : '');
    await this.#callers.remove(caller);
    this.#notes.tell('unpair', { caller });
    return await this.#admitAgain();
  }

  async #admitAgain(): Promise<{ ended: number }> {
    const ended = this.#readmission.begin();
    await this.#readmission.done;
    return { ended };
  }

  /** What is wrong with the rules is for owners: the problem's text may quote them. */
  async #statusFor(principal: Principal): Promise<AgentStatus> {
    const { policy, ...status } = await this.#status();
    const problem = policy.problem === undefined || isOwner(principal) ? policy.problem : 'it is broken';
    return { ...status, policy: { ...policy, problem } };
  }

  /** This machine's own user needs no key. */
  #rolesOf(principal: string): readonly string[] | undefined {
    return principal === OWNER ? [OWNER] : this.#callers.rolesOf(principal);
  }

  async #stop(endRuns: boolean): Promise<unknown> {
    const { runs } = await this.#status();
    const left = endRuns ? await this.#endRuns() : runs;
    setImmediate(() => void this.close());
    return { runs: left, ended: Math.max(0, runs - left) };
  }

  /** Ends the commands, waits, within bounds, until their callers can hear of it, and says how many run still. */
  async #endRuns(): Promise<number> {
    await this.#gate.ask((opId) => ({ type: 'ASK', alias: 0, opId, what: 'end-runs' }));
    const until = performance.now() + END_PATIENCE;
    for (;;) {
      const { runs } = await this.#status();
      if (!runs || performance.now() >= until) return runs;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async #status(): Promise<AgentStatus> {
    const answer = await this.#gate.ask((opId) => ({ type: 'ASK', alias: 0, opId, what: 'status' }));
    const { limits, log, ...keeper } = keeperPartOf(answer);
    return {
      ...keeper,
      pid: process.pid,
      keeperPid: this.#gate.pid,
      keeperVersion: this.#gate.version,
      listening: this.listening,
      version: VERSION,
      fingerprint: this.fingerprint,
      name: this.name,
      links: this.#sessions.size,
      unestablished: this.#servers.reduce((sum, server) => sum + server.info().unestablished, 0),
      resumes: this.#resumes.count,
      replayedBytes: this.#resumes.replayedBytes,
      limits: {
        ...(limitsByName('agent', this.#settings) as Record<AgentLimitName, number>),
        ...limits,
      },
      givenLimits: this.#givenLimits,
      diskFree: freeBytes(this.home.state),
      policy: this.#policyStatus,
      callersProblem: this.#callersProblem,
      log: log && { ...log, problem: log.problem ?? this.#log.problem },
      setAside: this.setAside,
      broker: this.#settings.broker,
      unreached: this.unreached,
    };
  }
}
