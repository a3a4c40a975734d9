/** From the option `concurrency` to a kind of worker and a way to feed it. */
import { availableParallelism } from 'node:os';
import type { WorkerKind } from './concurrency.js';
import { SocketServerError } from '../errors.js';
import type { Concurrency, ProcessOptions, ThreadOptions } from '../options.js';
import { findSystemCalls } from '../transports/system-calls.js';
import type { TransportName } from '../transports/transport.js';
import type { PoolRules } from './pool.js';
import { processes } from './processes.js';
import { canReusePort } from './reuse-port.js';
import { threads } from './threads.js';

const HANG_TIMEOUT = 60_000;
const MAX_CHILDREN = 40;

/** How workers get their connections. */
export type Feeding = 'hand-over' | 'kernel' | 'reuse-port';

export interface Choice {
  feeding: Feeding;
  kind: WorkerKind;
  rules: PoolRules;
}

export function modeOf(concurrency: Concurrency): 'inline' | 'threads' | 'processes' {
  return typeof concurrency === 'string' ? concurrency : concurrency.mode;
}

/** As many as there are cores, at least 2. */
function cores(): number {
  return Math.max(2, availableParallelism());
}

/** Picks the best way there is to do what the options ask for; refuses what cannot be done here. */
export async function choose(concurrency: Concurrency, transport: TransportName): Promise<Choice> {
  // Node takes over descriptors of kinds that it knows, and packet sockets are none.
  if (transport === 'unix-seqpacket')
    throw new SocketServerError(
      'UNSUPPORTED',
      'Node cannot hand a SEQPACKET connection to another thread or process: use concurrency "inline"',
    );
  return modeOf(concurrency) === 'processes'
    ? chooseProcesses(typeof concurrency === 'string' ? { mode: 'processes' } : (concurrency as ProcessOptions))
    : chooseThreads(typeof concurrency === 'string' ? { mode: 'threads' } : (concurrency as ThreadOptions), transport);
}

function chooseProcesses(options: ProcessOptions): Choice {
  const workers = options.workers ?? cores();
  const requestsEach = options.requestsPerChild ?? 0;
  const pick = options.balance === 'least-connections' ? 'least-connections' : 'round-robin';
  const most = Math.max(options.maxChildren ?? MAX_CHILDREN, requestsEach > 0 ? 1 : workers);
  const spares = options.spares ?? (requestsEach > 0 ? workers : 0);
  return {
    feeding: 'hand-over',
    kind: processes,
    rules: { workers, most, requestsEach, spares, pick, hangTimeout: options.hangTimeout ?? HANG_TIMEOUT },
  };
}

async function chooseThreads(options: ThreadOptions, transport: TransportName): Promise<Choice> {
  const workers = options.workers ?? cores();
  const { balance = 'auto' } = options;
  const pick = balance === 'least-connections' ? 'least-connections' : 'round-robin';
  const rules: PoolRules = {
    workers,
    most: workers,
    requestsEach: 0,
    spares: 0,
    pick,
    hangTimeout: options.hangTimeout ?? HANG_TIMEOUT,
  };
  if (transport === 'udp' || transport === 'unix-datagram')
    return { feeding: 'hand-over', kind: threads(undefined), rules };
  const overTcp = transport === 'tcp' || transport === 'tls';
  const calls = await findSystemCalls();
  const reuse = overTcp && (balance === 'auto' || balance === 'reuse-port') && (await canReusePort());
  if (balance === 'reuse-port' && !reuse)
    throw new SocketServerError(
      'UNSUPPORTED',
      overTcp
        ? 'balance "reuse-port" needs Node 22.12 or later and a system with SO_REUSEPORT: use "auto"'
        : 'balance "reuse-port" is for TCP and TLS: use "auto"',
    );
  if (reuse) return { feeding: 'reuse-port', kind: threads(undefined), rules };
  const handOver = balance === 'round-robin' || balance === 'least-connections';
  if (handOver && calls === undefined)
    throw new SocketServerError(
      'UNSUPPORTED',
      `balance "${balance}" for threads needs the optional package koffi (npm install koffi): use "auto" or "kernel"`,
    );
  const canHandOver = calls !== undefined && balance !== 'kernel';
  return canHandOver
    ? { feeding: 'hand-over', kind: threads(calls), rules }
    : { feeding: 'kernel', kind: threads(calls), rules };
}
