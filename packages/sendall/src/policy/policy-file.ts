/**
 * The policy of an agent: policy.yaml, read again when it has changed. A file that cannot be obeyed keeps the rules
 * before it, and no command of others than owners starts until it is mended; the same holds while a large file is
 * checked, which takes a thread some seconds.
 */
import { UsageError } from '../errors.js';
import { readPrivateBytes } from '../files/private-file.js';
import { stampOf } from '../files/stamp.js';
import { checkApart, type Checking } from './apart.js';
import { decide } from './match.js';
import { MAX_POLICY, parsePolicy } from './parse.js';
import type { Decision, Machine, Request } from './request.js';
import { OWNER, Policy, type Rule } from './rules.js';
import { ThisMachine } from './this-machine.js';

/** Bytes of a file that is checked at once: in a few hundredths of a second, whatever its text. */
const SMALL = 32 * 1024;

export class PolicyFile {
  readonly path: string;
  /** Called when a check of a large file has ended. */
  onChange: () => void = () => undefined;
  readonly #machine: Machine;
  #stamp: string | undefined;
  #policy = new Policy();
  #problem: UsageError | undefined;
  #rev = 0;
  #checking: Checking | undefined;

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

  /** Resolves when no file is being checked. */
  async settled(): Promise<void> {
    this.refresh();
    while (this.#checking) await this.#checking.done.catch(() => undefined);
  }

  /** Ends what runs. */
  close(): void {
    this.#checking?.stop();
    this.#checking = undefined;
  }

  /** Reads the file if it has changed. True if other rules hold now, or the file became good or bad. */
  refresh(): boolean {
    let stamp: string | undefined;
    try {
      stamp = stampOf(this.path);
      if (stamp === this.#stamp) return false;
      const bytes = readPrivateBytes(this.path, MAX_POLICY);
      this.close();
      if (bytes && bytes.length > SMALL) this.#check(bytes);
      else this.#take(bytes ? parsePolicy(bytes, this.path, this.#rev + 1) : new Policy([], { rev: this.#rev + 1 }));
    } catch (error) {
      this.close();
      this.#problem = error instanceof UsageError ? error : cannotRead(this.path, error);
    }
    this.#stamp = stamp;
    return true;
  }

  #take(policy: Policy): void {
    this.#policy = policy;
    this.#rev = policy.rev;
    this.#problem = undefined;
  }

  #check(bytes: Uint8Array): void {
    const checking = (this.#checking = checkApart(bytes, this.path));
    this.#problem = new UsageError(`${this.path} is being checked, which takes some seconds`);
    const over = (outcome: { readonly rules: readonly Rule[]; readonly sha256: string } | UsageError): void => {
      // The file may have changed since.
      if (checking !== this.#checking) return;
      this.#checking = undefined;
      if (outcome instanceof UsageError) this.#problem = outcome;
      else this.#take(new Policy(outcome.rules, { rev: this.#rev + 1, sha256: outcome.sha256 }));
      this.onChange();
    };
    checking.done.then(over, over);
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
      return { deny: this.#checking ? CHECKING : BROKEN, nearest: [] };
    return decide(this.#policy, request, this.#machine);
  }
}

const BROKEN = 'the policy of this agent is broken, so it starts commands for owners only';
const CHECKING = 'the policy of this agent is being checked, which takes some seconds: try again';

const cannotRead = (path: string, cause: unknown) =>
  new UsageError(`${path} cannot be read: ${(cause as Error).message}`, { cause });
