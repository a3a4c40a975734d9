/** Makes many answers readable: groups equal ones, and shows what differs from the majority. */
import { createHash } from 'node:crypto';
import type { Outcome, Result } from '../client/result/result.js';
import { NodeSet } from '../sets/node-set.js';

/** Hosts with the same outcome and the same output. */
export interface Group {
  readonly hosts: NodeSet;
  readonly outcome: Outcome;
  readonly code: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** The reason for an outcome other than the command's own. */
  readonly reason: string;
}

/** The output of most hosts, and of the others. */
export interface OutputDiff {
  /** The largest group; the first of equally large ones. */
  readonly majority: Group;
  readonly others: readonly Group[];
}

/** Groups results as they arrive, keeping one copy of equal output. */
export class Gatherer {
  readonly #groups = new Map<string, { names: string[]; group: Omit<Group, 'hosts'> }>();

  add(result: Result): void {
    const { outcome, code, signal, reason, raw } = result;
    // A reason names its host, its path or its time, so only the outcome counts.
    const key = createHash('sha256')
      .update(JSON.stringify([outcome, code, signal, raw.stdout.length, raw.stderr.length]))
      .update(raw.stdout)
      .update(raw.stderr)
      .digest('base64');
    const known = this.#groups.get(key);
    if (known) known.names.push(result.host);
    else {
      const group = { outcome, code, signal, reason, stdout: raw.stdout, stderr: raw.stderr };
      this.#groups.set(key, { names: [result.host], group });
    }
  }

  /** The groups, largest first. */
  groups(): Group[] {
    return [...this.#groups.values()]
      .sort((a, b) => b.names.length - a.names.length)
      .map(({ names, group }) => ({ hosts: new NodeSet(names), ...group }));
  }
}
