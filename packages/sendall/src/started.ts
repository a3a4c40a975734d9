/**
 * How this process was started, where Node hides it: Node resets ignored signals, raises the soft limit of open files
 * and opens closed descriptors before our code runs. The lines of sh in `bin/` look first and pass on what they saw;
 * without them (`node FILE`, no /proc) we know nothing and use what Node gives us.
 */
import { readFileSync } from 'node:fs';
import { constants, getPriority } from 'node:os';

const VARIABLE = 'SENDALL_START';

/** Kept where every copy of this module finds it, as the command line is a bundle. */
const KEPT = Symbol.for('sendall.start');
const shared = globalThis as { [KEPT]?: string };

export interface Started {
  /** The soft limit of open files; Infinity when unlimited, undefined when unknown. */
  readonly nofile: number | undefined;
  /** Signals that were ignored and must stay so. */
  readonly ignored: ReadonlySet<NodeJS.Signals>;
  /** Which of the descriptors 0, 1 and 2 were closed. */
  readonly closed: ReadonlySet<number>;
}

/** The settings a process passes on to its children. */
export interface Starter {
  /** Soft and hard limits, indexed by resource number; digits or "unlimited". Empty when unreadable. */
  readonly limits: readonly (readonly [soft: string, hard: string])[];
  readonly umask: number;
  readonly nice: number;
  /** Undefined when the system has none. */
  readonly oomScore: number | undefined;
}

/** The names of the lines of /proc/PID/limits, in the order of resource numbers. Source: Linux, fs/proc/base.c. */
export const RESOURCES = [
  'cpu time',
  'file size',
  'data size',
  'stack size',
  'core file size',
  'resident set',
  'processes',
  'open files',
  'locked memory',
  'address space',
  'file locks',
  'pending signals',
  'msgqueue size',
  'nice priority',
  'realtime priority',
  'realtime timeout',
] as const;
export const RLIMIT_NOFILE = 7;
/** Used when the soft limit of files is unknown: a login's usual value, since select() in a command breaks above it. */
const USUAL_FILES = 1024;
const USUAL_UMASK = '022';

let read: Started | undefined;

/**
 * How this process was started. Each of our programs calls it first: it removes the variable, so other programs never
 * see it.
 */
export function started(): Started {
  return (read ??= readStart(kept()));
}

function kept(): string {
  shared[KEPT] ??= process.env[VARIABLE] ?? '';
  delete process.env[VARIABLE];
  return shared[KEPT];
}

/** What this process passes on from its start: its limits, with the soft limit of files that Node raised put back. */
export function starter(): Starter {
  const { nofile = USUAL_FILES } = started();
  const limits = RESOURCES.flatMap((name, no): [string, string][] => {
    const [, soft, hard] = new RegExp(`^Max ${name} +(\\w+) +(\\w+)`, 'm').exec(textOf('/proc/self/limits')) ?? [];
    if (soft === undefined || hard === undefined) return [];
    if (no !== RLIMIT_NOFILE) return [[soft, hard]];
    return [
      [nofile === Infinity ? hard : String(Math.min(nofile, hard === 'unlimited' ? nofile : Number(hard))), hard],
    ];
  });
  const score = textOf('/proc/self/oom_score_adj').trim();
  return {
    limits: limits.length === RESOURCES.length ? limits : [],
    // Not umask(2), which can only be read by setting it.
    umask: parseInt(/^Umask:\s*([0-7]+)/m.exec(textOf('/proc/self/status'))?.[1] ?? USUAL_UMASK, 8),
    nice: getPriority(),
    oomScore: score === '' ? undefined : Number(score),
  };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    // Not Linux.
    return '';
  }
}

/** The environment variable that tells our own child processes how we were started. */
export function startVariable(): Record<string, string> {
  const words = kept()
    .split(' ')
    .filter((word) => word && !word.startsWith('closed='));
  return words.length ? { [VARIABLE]: words.join(' ') } : {};
}

/** Parses `sigign=HEX nofile=N closed=FD`; parts it does not understand count as unknown. */
export function readStart(text: string): Started {
  const values = (name: string) =>
    text
      .split(' ')
      .filter((word) => word.startsWith(`${name}=`))
      .map((word) => word.slice(name.length + 1));
  const [nofile = ''] = values('nofile');
  const [mask = ''] = values('sigign');
  return {
    nofile: nofile === 'unlimited' ? Infinity : /^\d{1,15}$/.test(nofile) ? Number(nofile) : undefined,
    ignored: signalsOf(/^[\da-f]{1,16}$/i.test(mask) ? BigInt(`0x${mask}`) : 0n),
    closed: new Set(values('closed').map(Number)),
  };
}

function signalsOf(mask: bigint): ReadonlySet<NodeJS.Signals> {
  const names = Object.entries(constants.signals) as [NodeJS.Signals, number][];
  const ignored = new Set(names.filter(([, number]) => (mask >> BigInt(number - 1)) & 1n).map(([name]) => name));
  // When sh is bash, it ignores SIGQUIT by itself; a shell that ignores it for `&` ignores SIGINT too.
  if (!ignored.has('SIGINT')) ignored.delete('SIGQUIT');
  return ignored;
}
