/** Names a process in files, so that another process can tell whether it still lives. */
import { hash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** A process: its pid alone could belong to a later one, or to another container. */
export interface ProcessMark {
  readonly pid: number;
  /** Kernel clock ticks at its start, which tell it from a later process with the same pid. */
  readonly ticks: string;
  /** The boot and the container of its pid, hashed. */
  readonly place: string;
}

function tryRead(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}

/** The state of a process and its start in kernel clock ticks; empty when unknown. */
function look(pid: number): { state: string; ticks: string } {
  // The program's name may contain any character, so split after its last parenthesis.
  const words = tryRead(() => readFileSync(`/proc/${pid}/stat`, 'latin1'))
    .replace(/^.*\)/s, '')
    .split(' ');
  return { state: words[1] ?? '', ticks: words[20] ?? '' };
}

let ownPlace: string | undefined;
function placeOfOurs(): string {
  const boot = () => tryRead(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()) || hostname();
  const container = () => tryRead(() => readlinkSync('/proc/self/ns/pid'));
  return (ownPlace ??= hash('sha256', `${boot()} ${container()}`, 'base64url').slice(0, 12));
}

/** The mark of this process. */
export function ownMark(): ProcessMark {
  return { pid: process.pid, ticks: look(process.pid).ticks, place: placeOfOurs() };
}

/** Whether the process still lives; undefined when it is out of sight, in another container or boot. */
export function lives({ pid, ticks, place }: Partial<ProcessMark>): boolean | undefined {
  if (pid === undefined || place !== placeOfOurs()) return undefined;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const now = look(pid);
  if (now.state === 'Z' || now.state === 'X') return false;
  return !ticks || !now.ticks || now.ticks === ticks;
}
