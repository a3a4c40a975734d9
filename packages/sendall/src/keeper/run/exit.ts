/** A command's exit as callers get it: its status, what was written before it, and what it took. */
import type { Exit } from '../../protocol/messages.js';
import { signalName } from '../../protocol/signals.js';
import type { Status } from '../system/native.js';
import type { EndReport } from './ending.js';

/** What a run knows of its end beside the status that its leader left. */
export interface End {
  readonly upto: Exit['upto'];
  /** Without pipes of their own, how much the streams have in the records. */
  readonly recorded: Exit['recorded'];
  readonly startMs: number;
  readonly endMs: number;
  /** Why the keeper ended it. */
  readonly cause: string | undefined;
  readonly reason: string | undefined;
  readonly report: EndReport | undefined;
}

/** The exit of a command that has left `status`. */
export function exitOf(status: Status, { upto, recorded, startMs, endMs, cause, reason, report }: End): Exit {
  const maxRssKb = status.maxRssKb ?? 0;
  return {
    code: status.code,
    signal: status.signal === undefined ? undefined : signalName(status.signal),
    core: status.core || undefined,
    cause,
    reason,
    upto,
    recorded,
    startMs,
    endMs,
    userUs: status.userUs,
    systemUs: status.systemUs,
    // The kernel counts the starting process' size too: what is not above ours says nothing.
    maxRssKb: maxRssKb > ownMaxRss(maxRssKb) ? status.maxRssKb : undefined,
    survivors: report?.survivors ?? [],
    killProof: report?.proof,
  };
}

let ownMax = 0;
/** The most memory that this process ever had, in KiB; asked again only where it may have come to exceed `other`. */
function ownMaxRss(other: number): number {
  if (ownMax < other) ownMax = process.resourceUsage().maxRSS;
  return ownMax;
}
