/** What is left of a run whose keeper died: its processes, its output on the disk, and an exit for its callers. */
import { formatRunId } from '../../protocol/run-id.js';
import { STREAM, type Exit, type StreamState } from '../../protocol/messages.js';
import type { Facts } from '../journal/history.js';
import type { RunServices } from './services.js';
import { describeAll } from '../system/processes.js';
import { spooledRange } from '../output/spool.js';
import { LeftCgroupTree, ScanTree, type Tree } from '../system/tree.js';

const OUTPUTS = [STREAM.stdout, STREAM.stderr, STREAM.pty, STREAM.records];

/** What still lives of it. Call it in the same boot only: pids are given again after that. */
export function treeLeftOf({ native, children }: RunServices, { intent, started }: Facts): Tree | undefined {
  if (!started) return undefined;
  const scan = new ScanTree(native, children, formatRunId(intent.runId), () => false);
  scan.adopt(started.pid, started.ticks);
  const tree: Tree = started.cgroup === undefined ? scan : new LeftCgroupTree(native, started.cgroup, scan);
  return tree.alive() ? tree : undefined;
}

/** The exit of a run whose own was not recorded, or not with all that was written before it. */
export function lostExit({ started, exit }: Facts, sameBoot: boolean, tree: Tree | undefined): Exit {
  const who = sameBoot ? 'the keeper died' : 'the machine was restarted';
  const reason = exit
    ? `${who} before the last output was stored`
    : started
      ? `${who} while it ran`
      : `${who} before its start was recorded: it may or may not have run`;
  const now = Date.now();
  return {
    upto: [],
    startMs: started?.startMs ?? now,
    endMs: now,
    ...exit?.exit,
    cause: 'lost',
    reason,
    survivors: tree ? describeAll(tree.members()) : [],
  };
}

/** Its streams: those with files, and those in its exit. */
export function streamsLeftOf(folder: string, { upto }: Exit): StreamState[] {
  return OUTPUTS.flatMap((stream) => {
    const range = spooledRange(folder, stream);
    const told = upto.find((each) => each.stream === stream)?.offset;
    const next = range?.next ?? told;
    return next === undefined ? [] : [{ stream, first: range?.first ?? next, next, final: next }];
  });
}
