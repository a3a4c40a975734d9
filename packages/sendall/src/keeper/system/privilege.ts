/** Whether this process may raise limits again that it has lowered. */
import { readFileSync } from 'node:fs';

const CAP_SYS_RESOURCE = 24n;
/** The user namespace of the machine itself: in another one the capability does not count for limits. */
const WHOLE_RANGE = /^ *0 +0 +4294967295\s*$/;

export function mayRaiseLimits(): boolean {
  try {
    const effective = /^CapEff:\s*([\da-f]+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0';
    const isThere = ((BigInt(`0x${effective}`) >> CAP_SYS_RESOURCE) & 1n) === 1n;
    return isThere && WHOLE_RANGE.test(readFileSync('/proc/self/uid_map', 'latin1'));
  } catch {
    return false;
  }
}
