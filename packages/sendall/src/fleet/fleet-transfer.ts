/** The same files to many hosts, or files from many hosts. */
import { mkdir } from 'node:fs/promises';
import { checkOptions, whole, type Rules } from '../client/options/check.js';
import type { Host } from '../client/host.js';
import { isReadOnce, toBytes, type Word } from '../client/options/options.js';
import type { Meeting } from '../client/streams/meeting.js';
import {
  prepareTransfer,
  TRANSFER_RULES,
  type TransferOptions,
  type TransferSource,
} from '../client/transfer/options.js';
import {
  asTransferResult,
  type TransferEvent,
  type TransferProgress,
  type TransferResult,
} from '../client/transfer/result.js';
import type { Transfer } from '../client/transfer/transfer.js';
import type { Turn } from '../client/turn.js';
import { UsageError, type SendallError } from '../errors.js';
import { NodeSet } from '../sets/node-set.js';
import type { Dialling, Reach } from './dialling.js';
import { progressOf, type Progress } from './progress.js';
import { Rollout, ROLLOUT_RULES, type RolloutOptions, type RolloutPlan } from './rollout.js';
import type { SharedReads } from './shared-reads.js';
import { HostStates, type HostStateEvent, type HostStatus } from './states.js';

/** Hosts at a time. */
const WINDOW = 16;
/** Bytes of the source kept in memory. */
const SHARED_READS = 32 * 1024 * 1024;

/** Options of a transfer with many hosts. */
export interface FleetTransferOptions extends TransferOptions, Omit<RolloutOptions, 'window'> {
  /**
   * Most hosts at a time.
   * @default 16
   */
  window?: number;
  /**
   * Bytes of the source that are kept in memory for hosts that come to them later. A host that is further behind reads
   * the source again.
   * @default 33_554_432
   */
  sharedReads?: number;
}

const FLEET_RULES: Rules<FleetTransferOptions> = {
  ...TRANSFER_RULES,
  ...ROLLOUT_RULES,
  sharedReads: whole('bytes'),
};

/** An event of a transfer, with its host; or another state of a host. */
export type HostTransferEvent = (TransferEvent & { readonly host: string; readonly runId: string }) | HostStateEvent;

/** How far a transfer with many hosts is. */
export interface FleetTransferProgress extends Progress {
  /** Bytes of content that are there, over all hosts. */
  readonly bytes: number;
  /** Bytes of content that travelled, over all hosts. */
  readonly sent: number;
  /** Files that failed, over all hosts. */
  readonly failedFiles: number;
}

/** The result of a transfer with all its hosts. */
export interface FleetTransferResult {
  /** Every file is there, on or from every host. */
  readonly ok: boolean;
  readonly results: readonly TransferResult[];
  /** Hosts with which it was never tried, because too many others failed or it was cancelled. */
  readonly notStarted: NodeSet;
}

/** What is transferred, and where to. */
interface Cargo {
  readonly direction: 'push' | 'pull';
  readonly sources: TransferSource;
  readonly destination: Word;
}

/** One transfer with many hosts. Read it once: as events, as results, or by awaiting it. */
export class FleetTransfer
  implements AsyncIterable<HostTransferEvent>, PromiseLike<FleetTransferResult>, AsyncDisposable
{
  readonly runId: string;
  readonly #names: readonly string[];
  readonly #reach: Reach;
  /** From the beginning of its work on. */
  #dialling: Dialling | undefined;
  #cargo: Cargo;
  readonly #options: TransferOptions;
  readonly #destinations: ReadonlyMap<string, Word>;
  readonly #rollout: Rollout;
  readonly #ids: ReadonlyMap<string, string>;
  readonly #sharedReads: number;
  #reads: SharedReads | undefined;
  readonly #active = new Map<string, Transfer>();
  readonly #states: HostStates;
  /** Sums over the hosts that have ended. */
  readonly #ended = { bytes: 0, sent: 0, failed: 0 };
  #begun = false;

  /**
   * @internal Use Fleet.push and Fleet.pull.
   * @throws UsageError when an option is wrong.
   */
  constructor(
    names: readonly string[],
    reach: Reach,
    cargo: Cargo,
    options: FleetTransferOptions,
    ids: ReadonlyMap<string, string>,
  ) {
    checkOptions<FleetTransferOptions>(`fleet ${cargo.direction}`, options, FLEET_RULES);
    const own = Object.fromEntries(Object.entries(options).filter(([name]) => name in TRANSFER_RULES));
    this.#options = { ...own, reject: false };
    // Report what is wrong now and once, not for each host.
    prepareTransfer(cargo.direction, cargo.sources, cargo.destination, this.#options);
    this.#names = names;
    this.#reach = reach;
    this.#destinations = destinationsFor(names, cargo);
    this.#cargo = cargo;
    this.#rollout = new Rollout(names, { ...options, window: options.window ?? WINDOW });
    this.#sharedReads = options.sharedReads ?? SHARED_READS;
    this.runId = options.runId!;
    this.#ids = ids;
    this.#states = new HostStates(names);
  }

  /** The id of the transfer's first run on a host. */
  idOn(host: string): string {
    return this.#ids.get(host) ?? this.runId;
  }

  /** The hosts of each batch. Reading the plan starts nothing. */
  get plan(): RolloutPlan {
    return this.#rollout.plan;
  }

  get progress(): FleetTransferProgress {
    const { bytes, sent, failed: failedFiles } = this.#ended;
    const sum = { bytes, sent, failedFiles };
    for (const { progress } of this.#active.values()) {
      sum.bytes += progress.bytes;
      sum.sent += progress.sent;
      sum.failedFiles += progress.failed;
    }
    return { ...progressOf(this.#states, this.#names.length), ...sum };
  }

  /** Each host's state at this moment. */
  get states(): ReadonlyMap<string, HostStatus> {
    return this.#states.all;
  }

  /** How far the transfer with this host is; undefined before its turn and after its end. */
  progressOf(host: string): TransferProgress | undefined {
    return this.#active.get(host)?.progress;
  }

  /** False while no host whose transfer goes on has a link, because links are being made or restored. */
  get linked(): boolean {
    return !this.progress.running || [...this.#active.values()].some((transfer) => transfer.linked);
  }

  /** Whether there is a link to this host. */
  isLinked(host: string): boolean {
    return this.#active.get(host)?.linked ?? false;
  }

  /** Hosts not tried so far. */
  get notStarted(): NodeSet {
    return new NodeSet(this.#states.hostsIn('waiting', 'neverStarted'));
  }

  /**
   * All events, in order for each host: those of its transfer, and `host` for each new state of the host. A slow reader
   * slows the transfers.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<HostTransferEvent, void, undefined> {
    const { Meeting: MeetingOfEvents } = await import('./at-work.js');
    const meeting = new MeetingOfEvents<HostTransferEvent>();
    const tell = (host: string, { begun: _begun, since: _since, ...status }: HostStatus) =>
      void meeting.offer({ event: 'host', host, runId: this.idOn(host), ...status });
    for (const [host, status] of this.#states.all) tell(host, status);
    this.#states.changed = tell;
    const offer = async (event: TransferEvent, { host, runId }: { host: string; runId: string }) =>
      await meeting.offer({ ...event, host, runId });
    const rolled = this.#roll(meeting, {
      follow: async (transfer) => {
        let result!: TransferResult;
        for await (const event of transfer) {
          if (event.event === 'result') ({ result } = event);
          await offer(event, transfer);
        }
        return result;
      },
      ended: async (result) => await offer({ event: 'result', result }, result),
    });
    yield* this.#read(meeting, rolled);
  }

  /** Each host's result as it ends. */
  async *results(): AsyncGenerator<TransferResult, void, undefined> {
    const { Meeting: MeetingOfResults } = await import('./at-work.js');
    const meeting = new MeetingOfResults<TransferResult>();
    const ended = async (result: TransferResult) => await meeting.offer(result);
    const rolled = this.#roll(meeting, {
      follow: async (transfer) => {
        const result = await transfer;
        await ended(result);
        return result;
      },
      ended,
    });
    yield* this.#read(meeting, rolled);
  }

  // oxlint-disable-next-line unicorn/no-thenable -- it is awaited, as a transfer is
  then<A = FleetTransferResult, B = never>(
    onResult?: ((value: FleetTransferResult) => A | PromiseLike<A>) | null,
    onError?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#all().then(onResult, onError);
  }

  /** Starts no further host and ends the transfers with the others. */
  async cancel(options: { reason?: string } = {}): Promise<void> {
    this.#rollout.stop(options.reason ?? 'cancelled');
    this.#dialling?.stop();
    await Promise.all([...this.#active.values()].map((transfer) => transfer.cancel(options)));
  }

  /** Ends the transfers that have not ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.cancel({ reason: 'the caller left' });
  }

  async #all(): Promise<FleetTransferResult> {
    const results: TransferResult[] = [];
    for await (const result of this.results()) results.push(result);
    const { notStarted } = this;
    return { ok: results.every(({ ok }) => ok) && notStarted.size === 0, results, notStarted };
  }

  /** Yields the offered values. If the reader stops early, the transfers end: without us they have no files. */
  async *#read<T>(meeting: Meeting<T>, rolled: Promise<void>): AsyncGenerator<T, void, undefined> {
    try {
      yield* meeting.taken();
    } finally {
      if (!meeting.closed) {
        meeting.abandon();
        await this.cancel({ reason: 'the caller left' });
      }
    }
    await rolled;
  }

  async #roll(meeting: { close(): void }, reader: Reader): Promise<void> {
    try {
      if (this.#begun) throw new UsageError('a fleet transfer is read once: as events, or as results, or awaited');
      this.#begun = true;
      const work = await import('./at-work.js');
      const dialling = (this.#dialling = new work.Dialling(this.#reach));
      this.#reads = new work.SharedReads(this.#sharedReads);
      const { sources } = this.#cargo;
      if (isReadOnce(sources as never)) {
        const shared = new work.Broadcast(sources as AsyncIterable<Uint8Array>, work.MAX_SHARED_STDIN);
        this.#cargo = { ...this.#cargo, sources: shared };
      }
      await this.#rollout.run(async (name) => await this.#withHost(name, dialling, reader));
      const why = this.#rollout.stopped ?? '';
      for (const name of this.#states.hostsIn('waiting')) this.#states.skip(name, why);
    } finally {
      meeting.close();
    }
  }

  /** Resolves to false when the host counts as failed. */
  async #withHost(name: string, dialling: Dialling, reader: Reader): Promise<boolean> {
    const states = this.#states;
    const { Turn: TurnOfHost } = await import('./at-work.js');
    const turn = new TurnOfHost(this.#options.deadline);
    let host: Host | undefined;
    states.reach(name, 'connecting');
    try {
      const transfer = await this.#begin(name, dialling, turn);
      if (!transfer) {
        states.skip(name, this.#rollout.stopped ?? '');
        return true;
      }
      if ('outcome' in transfer) {
        states.end(name, transfer);
        await reader.ended(transfer);
        return false;
      }
      ({ host } = transfer);
      return await this.#follow(name, transfer.transfer, reader);
    } finally {
      this.#active.delete(name);
      await host?.close();
    }
  }

  /** The transfer with a host, or the result when it is not reached; undefined when it is stopped first. */
  async #begin(
    name: string,
    dialling: Dialling,
    turn: Turn,
  ): Promise<{ host: Host; transfer: Transfer } | TransferResult | undefined> {
    const runId = this.idOn(name);
    let host: Host | undefined;
    try {
      host = await dialling.hostUnlessStopped(name, turn);
      if (!host) return undefined;
      const { direction, sources } = this.#cargo;
      const destination = this.#destinations.get(name)!;
      if (direction === 'pull' && !this.#options.dryRun) await makeParent(destination);
      if (dialling.stopped) {
        // While the folder was made.
        await host.close();
        return undefined;
      }
      const options = { ...this.#options, ...turn.runOptions(), runId };
      const transfer = host.transfer(direction, sources, destination, options, {
        reads: this.#reads!,
      });
      this.#active.set(name, transfer);
      return { host, transfer };
    } catch (error) {
      await host?.close();
      const { reachError } = await import('./at-work.js');
      return unreached(name, runId, reachError(error as Error));
    }
  }

  async #follow(name: string, transfer: Transfer, reader: Reader): Promise<boolean> {
    const states = this.#states;
    transfer.attached.then(
      () => states.reach(name, 'queued'),
      () => undefined,
    );
    transfer.started.then(
      () => states.reach(name, 'running'),
      () => undefined,
    );
    const result = await reader.follow(transfer);
    this.#ended.bytes += result.bytes;
    this.#ended.sent += result.sent;
    this.#ended.failed += result.failed;
    states.end(name, result);
    return result.ok;
  }
}

/** What becomes of each host's transfer. */
interface Reader {
  /** Reads it to its end. */
  readonly follow: (transfer: Transfer) => Promise<TransferResult>;
  /** It has ended before it began. */
  readonly ended: (result: TransferResult) => Promise<void>;
}

function unreached(host: string, runId: string, { code, message }: SendallError): TransferResult {
  return asTransferResult({
    ok: false,
    outcome: code === 'REFUSED' || code === 'KEY_CHANGED' ? 'refused' : 'unreachable',
    host,
    runId,
    files: 0,
    bytes: 0,
    sent: 0,
    same: 0,
    failed: 0,
    deleted: 0,
    leftOut: {},
    problems: [],
    retries: 0,
    durationMs: 0,
    refusal: undefined,
    reason: message,
  });
}

/** Stands for a host's name in the destination of a pull. */
const HOST = Buffer.from('{host}');
const SLASH = 0x2f;

/**
 * Each host's destination.
 * @throws UsageError when several hosts would write the same files, or a name cannot be a folder's.
 */
function destinationsFor(names: readonly string[], { direction, destination }: Cargo): Map<string, Word> {
  const bytes = toBytes(destination);
  if (direction === 'push') return new Map(names.map((name) => [name, bytes]));
  const named = Buffer.from(bytes);
  if (!named.includes(HOST)) {
    if (names.length < 2) return new Map(names.map((name) => [name, bytes]));
    if (named.at(-1) !== SLASH)
      throw new UsageError(
        `the destination: ${names.length} hosts would write the same files: put {host} into it, or end it in "/"`,
      );
  }
  return new Map(names.map((name) => [name, withName(named, name)]));
}

/** Makes the folder in which a host's destination lies: its name may be in it. */
async function makeParent(destination: Word): Promise<void> {
  const bytes = Buffer.from(toBytes(destination));
  const end = bytes.at(-1) === SLASH ? bytes.length - 1 : bytes.length;
  const slash = bytes.subarray(0, end).lastIndexOf(SLASH);
  if (slash > 0) await mkdir(bytes.subarray(0, slash), { recursive: true });
}

function withName(destination: Buffer, name: string): Buffer {
  if (/[/\0]/.test(name) || name === '.' || name === '..' || name === '')
    throw new UsageError(`the destination: the host "${name}" cannot name a folder: give it a name with sendall pair`);
  if (!destination.includes(HOST)) return Buffer.concat([destination, Buffer.from(`${name}/`)]);
  const parts: Buffer[] = [];
  let rest = destination;
  for (let at = rest.indexOf(HOST); at >= 0; at = rest.indexOf(HOST)) {
    parts.push(rest.subarray(0, at), Buffer.from(name));
    rest = rest.subarray(at + HOST.length);
  }
  return Buffer.concat([...parts, rest]);
}
