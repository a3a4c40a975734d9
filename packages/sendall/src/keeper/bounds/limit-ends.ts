/** Ends that a command's own limits bring, told from what the kernel left behind. */
import { constants } from 'node:os';
import type { Limits } from '../../protocol/messages.js';
import type { LimitGroup } from './limit-groups.js';
import { failedCall } from '../../libc/system-error.js';
import type { Status } from '../system/native.js';
import { cpuSeconds } from './prefix.js';

const { SIGXCPU, SIGKILL } = constants.signals;
/** The kernel enforces the limit by counting ticks; the exact time can be that much less. */
const COUNTED = 0.75;

export interface LimitEnd {
  readonly cause: 'limits' | 'oom';
  readonly reason: string;
}

const OUT_OF_MEMORY: LimitEnd = { cause: 'oom', reason: 'it needed more memory than its limit allows' };

/** The command has started: its limits hold from now on. Why it has to end at once, if it has. */
export function beginLimits(group: LimitGroup): LimitEnd | undefined {
  try {
    return group.begin() ? undefined : OUT_OF_MEMORY;
  } catch (error) {
    return { cause: 'limits', reason: `its limits could not be set (${failedCall(error)})` };
  }
}

/** The limit by which a command ended that the keeper did not end; undefined when none did. */
export function limitEnd(
  status: Status,
  limits: Limits | undefined,
  group: LimitGroup | undefined,
): LimitEnd | undefined {
  if (group?.ranOutOfMemory) return OUT_OF_MEMORY;
  if (limits?.cpuMs === undefined) return undefined;
  const seconds = cpuSeconds(limits.cpuMs);
  const usedUs = (status.userUs ?? 0) + (status.systemUs ?? 0);
  // SIGXCPU came first, and was ignored.
  const isKilled = status.signal === SIGKILL && usedUs >= seconds * 1e6 * COUNTED;
  if (status.signal !== SIGXCPU && !isKilled) return undefined;
  return { cause: 'limits', reason: `it used the ${seconds} s of processor time that its limit allows` };
}
