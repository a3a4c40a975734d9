/** The option `limits`: what a command may use of its host. */
import { duration, objectOf, readDuration, whole, type Duration, type Rule } from './check.js';
import type { Limits } from '../../protocol/messages.js';

/** What a command may use of its host. An absent limit is none of ours; the host's own hold all the same. */
export interface CommandLimits {
  /**
   * Bytes of memory that all its processes have together, swap included. Above it the host's kernel ends the command
   * (outcome limits, cause oom). The host needs cgroups with the memory controller.
   */
  memory?: number;
  /**
   * Milliseconds of processor time, for each of its processes; the host counts whole seconds and rounds up. Above it a
   * process gets SIGXCPU, and SIGKILL a second later (outcome limits if that ends the command).
   */
  cpu?: Duration;
  /** Open files of each of its processes. */
  files?: number;
  /** Processes and threads that it has at one time. Above it no more start. The host needs cgroups with the pids controller. */
  processes?: number;
}

/** Fewer files and no program with shared libraries can start. */
const FEWEST_FILES = 4;

export const limitsRule: Rule = objectOf({
  memory: whole('bytes', 1),
  cpu: duration,
  files: whole('files', FEWEST_FILES),
  processes: whole('processes', 1),
} satisfies Record<keyof CommandLimits, Rule>);

/** Limits as the host gets them; undefined without any. */
export function limitsFor({ memory, cpu, files, processes }: CommandLimits = {}): Limits | undefined {
  const limits = { memory, cpuMs: readDuration(cpu) || undefined, files, processes };
  return Object.values(limits).some((limit) => limit !== undefined) ? limits : undefined;
}
