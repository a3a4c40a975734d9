/**
 * The policy of an agent: policy.yaml, read again when it has changed. A file that cannot be obeyed keeps the rules
 * before it, and no command of others than owners starts until it is mended.
 */
import { UsageError } from '../errors.js';
import { readPrivateBytes } from '../files/private-file.js';
import { stampOf } from '../files/stamp.js';
import { decide } from './match.js';
import { MAX_POLICY, parsePolicy } from './parse.js';
import type { Decision, Machine, Request } from './request.js';
import { OWNER, Policy } from './rules.js';
import { ThisMachine } from './this-machine.js';

export class PolicyFile {
  readonly path: string;
  readonly #machine: Machine;
  #stamp: string | undefined;
  #policy = new Policy();
  #problem: UsageError | undefined;
  #rev = 0;

  constructor(path: string, machine: Machine = new ThisMachine()) {
    this.path = path;
    this.#machine = machine;
  }

  /** The rules that hold now. */
  get policy(): Policy {
    this.refresh();
    return this.#policy;
  }

  /** Why the file's present state is not obeyed; undefined: it is. */
  get problem(): UsageError | undefined {
    this.refresh();
    return this.#problem;
  }

  /** Reads the file if it has changed. True if other rules hold now, or the file became good or bad. */
  refresh(): boolean {
    let stamp: string | undefined;
    try {
      stamp = stampOf(this.path);
      if (stamp === this.#stamp) return false;
      const bytes = readPrivateBytes(this.path, MAX_POLICY);
      this.#policy = bytes ? parsePolicy(bytes, this.path, this.#rev + 1) : new Policy([], { rev: this.#rev + 1 });
      this.#rev++;
      this.#problem = undefined;
    } catch (error) {
      this.#problem = error instanceof UsageError ? error : cannotRead(this.path, error);
    }
    this.#stamp = stamp;
    return true;
  }

  /** The agent can give commands a user that cannot reach it. Without that, it serves owners only. */
  get isRoot(): boolean {
    return this.#machine.uid === 0;
  }

  /** Decides again on a run that is there already. It goes by the rules that hold, also while the file is broken. */
  review(request: Request): Decision {
    return decide(this.#policy, request, this.#machine);
  }

  /** Decides on a request by the rules that hold now. */
  decide(request: Request): Decision {
    const { roles, spec } = request;
    if (!roles.includes(OWNER)) this.refresh();
    if (this.#problem && spec && !roles.includes(OWNER))
      return { deny: 'the policy of this agent is broken, so it starts commands for owners only', nearest: [] };
    return decide(this.#policy, request, this.#machine);
  }
}

const cannotRead = (path: string, cause: unknown) =>
  new UsageError(`${path} cannot be read: ${(cause as Error).message}`, { cause });
