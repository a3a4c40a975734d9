/** A server's threads or processes: started, fed, watched, replaced. */
import type { Socket } from 'node:net';
import type { BoundAddress, PeerAddress } from '../address.js';
import type { WorkerKind, WorkerLink, Workers } from './concurrency.js';
import type { Datagram } from '../datagram.js';
import type { DrainReport } from '../reasons.js';
import { SocketServerError } from '../errors.js';
import type { ResolvedOptions } from '../options.js';
import { descriptorOf } from '../node-internals.js';
import type { ServerEvents } from '../events.js';
import type { DropReason } from '../reasons.js';
import type { SharedPlaces } from '../admission/shared-places.js';
import { isFailure, Unestablished } from '../admission/unestablished.js';
import { Respawn } from './respawn.js';
import {
  errorFrom,
  errorNote,
  type ClosedNote,
  type FromWorker,
  type ToWorker,
  type RequestNote,
  type WorkerStart,
} from './worker-messages.js';

/** How often it is looked, within `hangTimeout`, whether a worker has answered. */
const LOOKS = 4;

export interface PoolRules {
  /** Workers that are kept. */
  workers: number;
  /** The most at a time. */
  most: number;
  /** A worker ends after this many requests; 0: never. */
  requestsEach: number;
  /** Idle ones kept ready when each serves a limited number. */
  spares: number;
  pick: 'round-robin' | 'least-connections';
  hangTimeout: number;
}

/** What a pool tells its server. */
export interface PoolHost {
  workerStart(worker: number, address: BoundAddress, link: WorkerLink): WorkerStart;
  event<E extends keyof ServerEvents>(event: E, info: ServerEvents[E]): void;
  forwarded(worker: number, event: string, info: Record<string, unknown>): void;
  /** A request begins in a worker. */
  opened(worker: number, request: RequestNote): void;
  /** It is over. */
  closed(worker: number, request: RequestNote, note: ClosedNote | undefined): void;
  placeFreed(): void;
  readonly options: ResolvedOptions;
  /** Whether connections begin without being established. */
  readonly beginsUnestablished: boolean;
  /** Without an item: it waited in a worker that died. */
  dropped(item: Socket | Datagram | undefined, reason: DropReason): void;
  failed(error: Error, request: RequestNote | undefined): void;
  verify(request: RequestNote): Promise<boolean>;
  send(data: Uint8Array, to: PeerAddress): Promise<void>;
  shutdown(timeout: number | undefined): void;
}

interface Active {
  member: Member;
  request: RequestNote;
  counted: boolean;
  opened: boolean;
  done: (() => void) | undefined;
}

interface Member {
  number: number;
  link: WorkerLink;
  state: 'starting' | 'ready' | 'retiring' | 'draining' | 'gone';
  /** Requests in it: its descriptions, and whether they still count. */
  active: Map<number, Active>;
  /** Connections that it accepted by itself and told of. */
  told: Map<number, RequestNote>;
  served: number;
  /** Looks since it was asked for a sign of life; undefined: it has answered. */
  unanswered: number | undefined;
  hung: boolean;
  startError?: Error;
}

/** Threads or processes that serve for one server: started, fed, watched, replaced. */
export class Pool implements Workers {
  readonly accept: boolean;
  readonly pids: ReadonlySet<number> = new Set();
  readonly #kind: WorkerKind;
  readonly #host: PoolHost;
  readonly #rules: PoolRules;
  readonly #places: SharedPlaces | undefined;
  readonly #members = new Set<Member>();
  readonly #unestablished: Unestablished<Active>;
  #address!: BoundAddress;
  #waiting: { item: Socket | Datagram; done: (() => void) | undefined }[] = [];
  #next = 0;
  #lastId = 0;
  readonly #respawn = new Respawn();
  #heartbeat: NodeJS.Timeout | undefined;
  #serving = false;
  /** Members whose door is being closed or opened, and the call that waits for them. */
  #atDoor = new Set<Member>();
  #doorsDone: (() => void) | undefined;
  #events = false;
  #unref = false;
  #started: { resolve: () => void; reject: (error: Error) => void } | undefined;
  #drain: { report: Omit<DrainReport, 'durationMs'>; promise: Promise<void>; resolve: () => void } | undefined;

  constructor(kind: WorkerKind, rules: PoolRules, host: PoolHost, places?: SharedPlaces) {
    this.#kind = kind;
    this.#rules = rules;
    this.#host = host;
    this.#places = places;
    this.#unestablished = new Unestablished(() => host.options);
    this.accept = kind.acceptance !== undefined;
  }

  get alive(): number {
    return this.#members.size;
  }

  start(address: BoundAddress): Promise<void> {
    this.#address = address;
    const ready = new Promise<void>((resolve, reject) => (this.#started = { resolve, reject }));
    for (let i = 0; i < this.#wanted(); i++) this.#spawn();
    const { hangTimeout } = this.#rules;
    if (hangTimeout > 0) {
      // Behind the loop's reading: an answer may have come while this loop stood still.
      const look = (): void => void setImmediate(() => this.#listenForHearts());
      this.#heartbeat = setInterval(look, Math.max(10, hangTimeout / LOOKS)).unref();
    }
    return ready;
  }

  #wanted(): number {
    const { requestsEach, spares, workers, most } = this.#rules;
    return Math.min(requestsEach > 0 ? Math.max(workers, spares) : workers, most);
  }

  // ---- members

  #spawn(): void {
    if (this.#drain !== undefined) return;
    const used = new Set([...this.#members].map(({ number }) => number));
    let number = 0;
    while (used.has(number)) number++;
    const link = this.#kind.start();
    const member: Member = {
      number,
      link,
      state: 'starting',
      active: new Map(),
      told: new Map(),
      served: 0,
      unanswered: undefined,
      hung: false,
    };
    this.#members.add(member);
    if (link.pid !== undefined) (this.pids as Set<number>).add(link.pid);
    if (this.#unref) link.unref();
    link.onMessage((message) => this.#heard(member, message));
    link.onExit((exit) => this.#gone(member, exit));
    link.post({ type: 'start', start: this.#host.workerStart(number, this.#address, link) });
  }

  #ready(member: Member): void {
    member.state = 'ready';
    const { number, link } = member;
    this.#host.event('worker', { state: 'started', worker: number, ...idOf(link) });
    if (this.#events) link.post({ type: 'wanted', events: true });
    if (this.#serving) link.post({ type: 'serve' });
    if (this.#started !== undefined && [...this.#members].every(({ state }) => state === 'ready')) {
      this.#started.resolve();
      this.#started = undefined;
    }
    this.#feedWaiting();
  }

  #gone(member: Member, exit: { code: number | null; signal: string | null; error?: Error }): void {
    if (member.state === 'gone') return;
    const { state } = member;
    member.state = 'gone';
    this.#members.delete(member);
    const { number, link, active } = member;
    this.#doorDone(member);
    if (link.pid !== undefined) (this.pids as Set<number>).delete(link.pid);
    const { held: lostHere, waiting } = this.#places?.clear(number) ?? { held: 0, waiting: 0 };
    const lost = Math.max(lostHere, [...active.values()].filter(({ opened }) => opened).length);
    for (const [id, entry] of active) {
      const { request, counted, opened, done } = entry;
      // What it did not have yet comes back and goes to another one.
      if (!opened) continue;
      active.delete(id);
      this.#unestablished.delete(entry);
      if (counted) this.#host.placeFreed();
      this.#host.closed(number, request, { ...nothingKnown, reason: 'worker' });
      done?.();
    }
    for (const request of member.told.values())
      this.#host.closed(number, request, { ...nothingKnown, reason: 'worker' });
    if (lostHere > 0) this.#host.placeFreed();
    for (let i = 0; i < waiting; i++) this.#host.dropped(undefined, 'no-worker');
    const error = exit.error ?? member.startError;
    this.#host.event('worker', {
      state: 'exit',
      worker: number,
      ...idOf(link),
      code: exit.code,
      signal: exit.signal,
      ...(error && { error }),
      connectionsLost: lost,
    });
    if (this.#drain !== undefined) {
      if (state !== 'draining') this.#drain.report.destroyed += lost;
      this.#drained();
      return;
    }
    if (state === 'retiring') this.#fill();
    else this.#crashed(member, exit, error);
  }

  /** A worker ended that should not have. */
  #crashed(member: Member, exit: { code: number | null; signal: string | null }, cause: Error | undefined): void {
    const how = cause?.message ?? (exit.signal === null ? `exit code ${exit.code}` : exit.signal);
    if (this.#started !== undefined) {
      const { reject } = this.#started;
      this.#started = undefined;
      reject(new SocketServerError('WORKER_FAILED', `a worker could not start: ${how}`, { cause }));
      return;
    }
    this.#respawn.after(() => {
      this.#host.event('worker', { state: 'respawn', worker: member.number });
      this.#fill();
    });
    const loop = this.#respawn.loopBegins;
    if (loop === undefined) return;
    const why = `${loop} (the last one: ${how}); they are replaced more slowly now`;
    this.#host.failed(new SocketServerError('WORKER_CRASH_LOOP', why, { cause }), undefined);
  }

  /** Starts as many as are missing. */
  #fill(): void {
    const { requestsEach, most, spares } = this.#rules;
    const missing = (): boolean => {
      if (this.#drain !== undefined || this.#members.size >= most) return false;
      if (requestsEach === 0) return this.#members.size < this.#wanted();
      const open = [...this.#members].filter((member) => this.#mayTake(member) || member.state === 'starting').length;
      return open < Math.max(spares, this.#waiting.length, 1);
    };
    while (missing()) this.#spawn();
  }

  #mayTake(member: Member): boolean {
    const { requestsEach } = this.#rules;
    return (
      member.state === 'ready' &&
      !member.hung &&
      member.link.usable &&
      (requestsEach === 0 || member.served < requestsEach)
    );
  }

  /**
   * A loop that stands still does not answer. A worker without requests is not asked. Looks count, and not the time
   * between them: while this process stood still, it could hear no answer.
   */
  #listenForHearts(): void {
    for (const member of this.#members) {
      const { active, link, state, hung } = member;
      if (member.unanswered !== undefined) {
        if (++member.unanswered < LOOKS || hung) continue;
        member.hung = true;
        this.#host.event('worker', { state: 'hung', worker: member.number, ...idOf(link) });
        link.kill();
      } else if (state !== 'starting' && (active.size > 0 || this.accept)) {
        member.unanswered = 0;
        link.post({ type: 'ping' });
      }
    }
  }

  // ---- requests

  take(item: Socket | Datagram, done?: () => void): void {
    const member = this.#pick();
    if (member === undefined) {
      this.#waiting.push({ item, done });
      this.#fill();
    } else {
      this.#give(member, item, done);
    }
  }

  #pick(): Member | undefined {
    const able = [...this.#members].filter((member) => this.#mayTake(member));
    if (able.length <= 1) return able[0];
    if (this.#rules.pick === 'least-connections')
      return able.reduce((least, member) => (member.active.size < least.active.size ? member : least));
    able.sort((a, b) => a.number - b.number);
    const member = able.find(({ number }) => number >= this.#next) ?? able[0]!;
    this.#next = member.number + 1;
    return member;
  }

  #give(member: Member, item: Socket | Datagram, done: (() => void) | undefined): void {
    const id = ++this.#lastId;
    member.served++;
    const last = this.#rules.requestsEach > 0 && member.served >= this.#rules.requestsEach;
    if (last) member.state = 'retiring';
    const request: RequestNote =
      'reply' in item ? { id, peer: item.peer } : { id, ...addressesOf(item, this.#address) };
    const entry = { member, request, counted: true, opened: 'reply' in item, done };
    member.active.set(id, entry);
    if (!('reply' in item) && this.#host.beginsUnestablished) {
      this.#unestablished.add(entry, request.peer);
      // Behind a balancer its worker knows where it comes from.
      if (this.#host.options.proxyProtocol === false) this.#sendAway(this.#unestablished.surplus(entry));
    }
    if ('reply' in item) {
      const { data, peer, truncated } = item;
      member.link.post({ type: 'datagram', id, data, peer, truncated });
    } else {
      member.link.handOver(id, item, () => this.#back(member, id, item));
    }
    if (last) this.#fill();
  }

  /** The worker ended before it had the socket: another one gets it. */
  #back(member: Member, id: number, socket: Socket): void {
    const entry = member.active.get(id);
    if (entry === undefined) return;
    member.active.delete(id);
    this.#unestablished.delete(entry);
    if (descriptorOf(socket) < 0 || this.#drain !== undefined) {
      if (entry.counted) this.#host.placeFreed();
      this.#host.dropped(socket, 'no-worker');
      entry.done?.();
    } else {
      this.take(socket, entry.done);
    }
  }

  #feedWaiting(): void {
    while (this.#waiting.length > 0) {
      const member = this.#pick();
      if (member === undefined) {
        this.#fill();
        return;
      }
      const { item, done } = this.#waiting.shift()!;
      this.#give(member, item, done);
    }
  }

  /** Of those that were handed over, and of those that accept by themselves. */
  get unestablished(): number {
    return this.#places?.unestablished ?? this.#unestablished.size;
  }

  /** Closes a connection that was handed over and is not established; its place is free when it has ended. False: none. */
  displace(): boolean {
    return this.#sendAway(this.#unestablished.next);
  }

  #sendAway(entry: Active | undefined): boolean {
    if (entry === undefined) return false;
    this.#unestablished.delete(entry);
    entry.member.link.post({ type: 'displace', id: entry.request.id });
    return true;
  }

  #over(member: Member, id: number, note: ClosedNote | undefined): void {
    const entry = member.active.get(id);
    if (entry === undefined) return;
    member.active.delete(id);
    this.#unestablished.delete(entry, isFailure(note?.reason));
    if (entry.counted) this.#host.placeFreed();
    this.#host.closed(member.number, entry.request, note);
    entry.done?.();
    if (member.state === 'retiring' && member.active.size === 0) member.link.post({ type: 'drain', timeout: 0 });
  }

  #heard(member: Member, message: FromWorker): void {
    const { link, number } = member;
    switch (message.type) {
      case 'ready':
        this.#ready(member);
        break;
      case 'failed':
        member.startError = errorFrom(message.error);
        link.kill();
        break;
      case 'got': {
        link.got(message.id);
        const entry = member.active.get(message.id);
        if (entry === undefined) break;
        entry.opened = true;
        this.#host.opened(number, entry.request);
        break;
      }
      case 'took':
        link.took?.(message.fd);
        break;
      case 'door':
        this.#doorDone(member);
        break;
      case 'closed': {
        const entry = member.active.get(message.id);
        if (entry !== undefined) entry.request = { id: message.id, peer: message.peer, local: message.local };
        this.#over(member, message.id, message);
        break;
      }
      case 'done':
        this.#over(member, message.id, undefined);
        break;
      case 'uncounted': {
        const entry = member.active.get(message.id);
        if (entry?.counted !== true) break;
        entry.counted = false;
        this.#unestablished.delete(entry);
        this.#host.placeFreed();
        break;
      }
      case 'established': {
        const entry = member.active.get(message.id);
        // A connection to be displaced may have been established just before. Then it stays.
        if (entry !== undefined) this.#unestablished.delete(entry);
        break;
      }
      case 'room': {
        const most = this.#places?.mostUnestablished;
        for (const { number: other, link: way } of this.#members) if (other === most) way.post({ type: 'displace' });
        break;
      }
      case 'event':
        if (message.event === 'connection') {
          const note = message.info as unknown as RequestNote;
          member.told.set(note.id, note);
        } else if (message.event === 'close') member.told.delete(message.info['id'] as number);
        this.#host.forwarded(number, message.event, message.info);
        break;
      case 'error':
        this.#host.failed(errorFrom(message.error), message.request);
        break;
      case 'verify':
        void this.#host.verify(message.request).then((ok) => link.post({ type: 'verified', call: message.call, ok }));
        break;
      case 'send':
        this.#host.send(message.data, message.to).then(
          () => link.post({ type: 'sent', call: message.call }),
          (error: unknown) => link.post({ type: 'sent', call: message.call, error: errorNote(error) }),
        );
        break;
      case 'shutdown':
        this.#host.shutdown(message.timeout);
        break;
      case 'drained': {
        const { open, idle, finished, destroyed } = message.report;
        const report = this.#drain?.report;
        if (report !== undefined) {
          report.open += open;
          report.idle += idle;
          report.finished += finished;
          report.destroyed += destroyed;
        }
        member.state = this.#drain === undefined ? member.state : 'draining';
        break;
      }
      case 'pong':
        member.unanswered = undefined;
        break;
    }
  }

  // ---- the server's wishes

  serve(): void {
    this.#serving = true;
    for (const { link } of this.#members) link.post({ type: 'serve' });
  }

  async suspend(queue: boolean): Promise<void> {
    this.#serving = false;
    if (this.accept) await this.#turnDoors(() => ({ type: 'suspend', queue }));
  }

  async resume(address: BoundAddress, reopen: boolean): Promise<void> {
    this.#address = address;
    if (!this.accept) return;
    // Each gets a socket of its own: two that close one number would close a third one's.
    await this.#turnDoors((link) => ({
      type: 'resume',
      ...(reopen && { acceptance: this.#kind.acceptance!(address, link) }),
    }));
  }

  /** Tells the workers that accept by themselves, and waits until each has done it or is gone. */
  async #turnDoors(message: (link: WorkerLink) => ToWorker): Promise<void> {
    this.#atDoor = new Set(this.#members);
    const all = new Promise<void>((resolve) => (this.#doorsDone = resolve));
    for (const { link } of this.#atDoor) link.post(message(link));
    if (this.#atDoor.size > 0) await all;
  }

  #doorDone(member: Member): void {
    if (this.#atDoor.delete(member) && this.#atDoor.size === 0) this.#doorsDone?.();
  }

  change(options: Record<string, unknown>): void {
    for (const { link } of this.#members) link.post({ type: 'options', options });
  }

  /** Whether connection events of workers that accept by themselves have listeners. */
  wantEvents(events: boolean): void {
    if (this.#events === events) return;
    this.#events = events;
    for (const { link } of this.#members) link.post({ type: 'wanted', events });
  }

  async drain(timeout: number): Promise<Omit<DrainReport, 'durationMs'>> {
    if (this.#drain === undefined) {
      let resolve!: () => void;
      const promise = new Promise<void>((r) => (resolve = r));
      this.#drain = { report: { open: 0, idle: 0, finished: 0, destroyed: 0 }, promise, resolve };
      this.#respawn.stop();
      for (const { item, done } of this.#waiting.splice(0)) {
        this.#host.placeFreed();
        this.#host.dropped(item, 'no-worker');
        done?.();
      }
    }
    for (const { link } of this.#members) link.post({ type: 'drain', timeout: Math.min(timeout, 0x7fffffff) });
    const { promise, report } = this.#drain;
    const killer =
      timeout === Infinity
        ? undefined
        : setTimeout(() => {
            for (const { link } of this.#members) link.kill();
          }, timeout + 1_000);
    this.#drained();
    await promise;
    clearTimeout(killer);
    clearInterval(this.#heartbeat);
    return report;
  }

  #drained(): void {
    if (this.#members.size === 0) this.#drain?.resolve();
  }

  unref(): void {
    this.#unref = true;
    for (const { link } of this.#members) link.unref();
  }
}

const nothingKnown = { bytesRead: 0, bytesWritten: 0, durationMs: 0 };

function idOf(link: WorkerLink): { pid?: number; threadId?: number } {
  return {
    ...(link.pid !== undefined && { pid: link.pid }),
    ...(link.threadId !== undefined && { threadId: link.threadId }),
  };
}

function addressesOf(socket: Socket, address: BoundAddress): { peer: PeerAddress; local: PeerAddress } {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if ('path' in address) return { peer: { path: '' }, local: { path: address.path } };
  return {
    peer: { host: remoteAddress ?? '', port: remotePort ?? 0 },
    local: { host: localAddress ?? '', port: localPort ?? 0 },
  };
}
