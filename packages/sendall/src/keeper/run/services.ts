/** What every run of a keeper shares. */
import type { Home } from '../../home.js';
import type { SpoolBudget } from '../output/budget.js';
import type { Cgroups } from '../system/cgroup.js';
import type { Children } from '../system/children.js';
import type { Account } from '../system/environment.js';
import type { CreditPool } from '../../protocol/flow.js';
import type { Journal } from '../journal/journal.js';
import type { KeeperLog } from '../log/keeper-log.js';
import type { KeeperLimits } from '../door/limits.js';
import type { LimitGroups } from '../bounds/limit-groups.js';
import type { Native } from '../system/native.js';
import type { OwnProgram } from '../transfer/own-program.js';

export interface RunServices {
  readonly home: Home;
  readonly limits: KeeperLimits;
  readonly native: Native;
  readonly children: Children;
  /** Undefined where cgroups may not be made. */
  readonly cgroups: Cgroups | undefined;
  readonly limitGroups: LimitGroups;
  readonly journal: Journal;
  readonly log: KeeperLog;
  /** What the keeper keeps for each principal; see Holdings. */
  readonly holdings: { of(principal: string): { readonly spool: SpoolBudget; known: number } };
  readonly inputPool: CreditPool;
  readonly account: Account;
  /** For put, get and forward. */
  readonly ownProgram: OwnProgram;
  /** An open /dev/null. */
  readonly devNull: number;
  readonly bootId: string;
}
