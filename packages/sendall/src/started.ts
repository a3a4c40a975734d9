/**
 * How this process was started, as far as Node hides it: it resets ignored signals, raises the soft limit of open files and
 * opens closed descriptors before our code runs. The lines of sh in `bin/` look first and hand on what they saw; without
 * them (`node FILE`, no /proc) nothing is known, and all is as Node makes it.
 */
import { readFileSync } from 'node:fs';
import { constants, getPriority } from 'node:os';

const VARIABLE = 'SENDALL_START';

/** What was handed on is kept where every copy of this module finds it: the command line is a bundle. */
const KEPT = Symbol.for('sendall.start');
const shared = globalThis as { [KEPT]?: string };

export interface Started {
  /** The soft limit of open files; Infinity when there is none, undefined when it is not known. */
  readonly nofile: number | undefined;
  /** Signals that were ignored, and have to stay so. */
  readonly ignored: ReadonlySet<NodeJS.Signals>;
  /** Which of the descriptors 0, 1 and 2 were closed. */
  readonly closed: ReadonlySet<number>;
}

/** What a process hands on to those that it starts. */
export interface Starter {
  /** Soft and hard limit by the number of the resource; digits or "unlimited". Empty where they cannot be read. */
  readonly limits: readonly (readonly [soft: string, hard: string])[];
  readonly umask: number;
  readonly nice: number;
  /** Undefined where there is none. */
  readonly oomScore: number | undefined;
}

/** What the lines of /proc/PID/limits are called, in the order of the resources' numbers. Source: Linux, fs/proc/base.c. */
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
/** Where the soft limit of files is not known: what a login has, for select() in a command breaks above it. */
const USUAL_FILES = 1024;
const USUAL_UMASK = '022';

let read: Started | undefined;

/** How this process was started. Called first of all by each program of ours: no other program gets to see the variable. */
export function started(): Started {
  return (read ??= readStart(kept()));
}

function kept(): string {
  shared[KEPT] ??= process.env[VARIABLE] ?? '';
  delete process.env[VARIABLE];
  return shared[KEPT];
}

/** What this process had at its start to hand on: its limits with the soft one of files that Node has raised put back. */
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
    // Not by umask(2): it can be asked only by setting it.
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

/** The environment variable that tells a process of our own how we were started. */
export function startVariable(): Record<string, string> {
  const words = kept()
    .split(' ')
    .filter((word) => word && !word.startsWith('closed='));
  return words.length ? { [VARIABLE]: words.join(' ') } : {};
}

/** Takes `sigign=HEX nofile=N closed=FD` apart; what it does not understand is not known. */
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
  // A sh that is bash ignores SIGQUIT by itself; a shell that ignores it for `&` ignores SIGINT too.
  if (!ignored.has('SIGINT')) ignored.delete('SIGQUIT');
  return ignored;
}
