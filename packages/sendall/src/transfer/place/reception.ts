/** What all parts of a receiver share. */
import type { Calls } from '../files/calls.js';
import { isTemporary } from '../files/names.js';
import { Problem } from '../files/problem.js';
import type { Channel } from '../stream/channel.js';
import type { TransferLimits } from '../stream/limits.js';
import type { CheckedSettings } from '../stream/settings.js';
import type { Tally } from '../stream/tally.js';
import type { Landing } from './landing.js';
import type { Level } from './level.js';
import type { Outflow } from './outflow.js';
import type { PlacingContext } from './placing.js';
import type { Settling } from './settling.js';
import type { SyncGroups } from './sync-groups.js';

export interface Reception {
  readonly channel: Channel;
  readonly calls: Calls;
  readonly settings: CheckedSettings;
  readonly limits: TransferLimits;
  readonly tally: Tally;
  readonly settling: Settling;
  readonly groups: SyncGroups;
  readonly context: PlacingContext;
  readonly landing: Landing;
  /** Where the content of a single file goes instead of a file. */
  readonly outflow: Outflow | undefined;
  /** Bytes of the largest file. */
  readonly maxBytes: number;
}

/** What prevents anything of this name in this folder. */
export function obstacle(level: Level, name: Buffer): Problem | undefined {
  if (level.problem) return new Problem(`its folder failed: ${level.problem.message}`, level.problem.errno);
  if (isTemporary(name)) return new Problem('names like this are for files on their way');
  return undefined;
}
