/** What /proc says about processes: used to find, name and tell apart those of a run. Source: proc(5). */
import { readdirSync, readFileSync } from 'node:fs';
import type { ProcessInfo } from '../../protocol/messages.js';

/** Words of a process shown in a report: at most this many bytes. */
const SHOWN = 512;
/** Bytes of a report: half of what an entry of the journal may have. */
const REPORT = 32 * 1024;
/** What a process takes in a report beside its words, and what each of these takes beside its bytes, at most. */
const PROCESS_FRAME = 16;
const WORD_FRAME = 4;

export interface ProcessStat {
  readonly pid: number;
  readonly state: string;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** Clock ticks from boot to its start: with the pid it names a process for good. */
  readonly ticks: number;
}

/** Undefined when there is no such process. */
export function statOf(pid: number): ProcessStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The name in parentheses may hold anything, so fields are counted from its last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    pid,
    state: fields[0]!,
    parent: Number(fields[1]),
    group: Number(fields[2]),
    session: Number(fields[3]),
    ticks: Number(fields[19]),
  };
}

/** Zombies and the dead do nothing any more. */
export const isLive = (stat: ProcessStat): boolean => stat.state !== 'Z' && stat.state !== 'X';

/** Whether there is such a process, or thread, that still does something. */
export function isAlive(pid: number): boolean {
  const stat = statOf(pid);
  return stat !== undefined && isLive(stat);
}

/** All processes. */
export function allProcesses(): ProcessStat[] {
  const found: ProcessStat[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const stat = statOf(pid);
    if (stat) found.push(stat);
  }
  return found;
}

/** The process a thread belongs to. */
export function processOfThread(tid: number): number | undefined {
  try {
    const pid = /^Tgid:\s*(\d+)/m.exec(readFileSync(`/proc/${tid}/status`, 'latin1'))?.[1];
    return pid === undefined ? undefined : Number(pid);
  } catch {
    return undefined;
  }
}

/** NAME=VALUE as it was in its environment at its start. Needs the same user or root. */
export function variableOf(pid: number, name: string): string | undefined {
  try {
    const pairs = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
    return pairs.find((pair) => pair.startsWith(`${name}=`));
  } catch {
    return undefined;
  }
}

/** Processes as reports name them; not more than a report can hold. */
export function describeAll(pids: readonly number[]): ProcessInfo[] {
  const named: ProcessInfo[] = [];
  let left = REPORT;
  for (const pid of pids) {
    const process = describe(pid);
    left -= process.argv.reduce((size, word) => size + word.length + WORD_FRAME, PROCESS_FRAME);
    if (left < 0) break;
    named.push(process);
  }
  return named;
}

function describe(pid: number): ProcessInfo {
  let words: Buffer[] = [];
  try {
    const line = readFileSync(`/proc/${pid}/cmdline`).subarray(0, SHOWN);
    words = line
      .toString('latin1')
      .replace(/\0$/, '')
      .split('\0')
      .map((word) => Buffer.from(word, 'latin1'));
  } catch {
    // Gone between the two looks.
  }
  return { pid, argv: words };
}
