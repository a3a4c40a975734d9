/** What answers each operation of the page. */
import type { Place } from '../access.js';
import type { Operation } from '../messages.js';
import type { Answer } from './answer.js';
import { audit, auditVerify } from './audit.js';
import { diff, fleetInfo, groups } from './fleet.js';
import { explain, hosts, resolve } from './hosts.js';
import { download, search } from './output.js';
import { policy, policyTest } from './policy.js';
import { forget, history, kill, runInfo, runs, signal, watchLink, withdrawLink } from './runs.js';
import { release, resize, stdin, take } from './seat.js';
import { again, run } from './start.js';

export const answers: { readonly [O in Operation]: Answer<O> } = {
  hosts,
  resolve,
  explain,
  run,
  runs,
  history,
  runInfo,
  fleetInfo,
  signal,
  kill,
  forget,
  again,
  groups,
  diff,
  search,
  download,
  watchLink,
  withdrawLink,
  policy,
  policyTest,
  audit,
  auditVerify,
  take,
  release,
  stdin,
  resize,
};

const ofOneRun: ReadonlySet<Operation> = new Set(['runInfo', 'search', 'download']);

/** Whether a page that may only watch this run may ask for it. */
export function readsOneRun(op: Operation, asked: object, { host, runId }: Place): boolean {
  const about = asked as Partial<Place>;
  return ofOneRun.has(op) && about.host === host && about.runId === runId;
}
