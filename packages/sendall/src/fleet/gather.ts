/** Many answers made readable: equal ones together, and what differs from the majority. */
import { createHash } from 'node:crypto';
import type { Outcome, Result } from '../client/result/result.js';
import { NodeSet } from './node-set.js';

/** Hosts that ended alike and wrote the same bytes. */
export interface Group {
  readonly hosts: NodeSet;
  readonly outcome: Outcome;
  readonly code: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** Why, for an outcome that is not the command's own. */
  readonly reason: string;
}

/** The output of most hosts, and the others. */
export interface OutputDiff {
  /** The largest group; of two equally large ones the first. */
  readonly majority: Group;
  readonly others: readonly Group[];
}

/** Puts results into groups as they come, keeping one copy of equal output. */
export class Gatherer {
  readonly #groups = new Map<string, { names: string[]; group: Omit<Group, 'hosts'> }>();

  add(result: Result): void {
    const { outcome, code, signal, reason, raw } = result;
    // A reason names its host, its path or its time: only the outcome counts.
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

  /** The largest group first. */
  groups(): Group[] {
    return [...this.#groups.values()]
      .sort((a, b) => b.names.length - a.names.length)
      .map(({ names, group }) => ({ hosts: new NodeSet(names), ...group }));
  }
}
