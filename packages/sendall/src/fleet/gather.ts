/** Makes many answers readable: groups equal ones, and shows what differs from the majority. */
import { hash } from 'node:crypto';
import type { Outcome, Result } from '../client/result/result.js';
import type { StreamName } from '../client/streams/output.js';
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
  /** Outputs that several results share are hashed once. */
  readonly #digests = new WeakMap<Buffer, string>();
  readonly #groups = new Map<string, { names: string[]; group: Omit<Group, 'hosts'> }>();

  add(result: Result): void {
    const { outcome, code, signal, reason, raw } = result;
    // A reason names its host, its path or its time, so only the outcome counts.
    const key = JSON.stringify([outcome, code, signal, this.#digest(result, 'stdout'), this.#digest(result, 'stderr')]);
    const known = this.#groups.get(key);
    if (known) known.names.push(result.host);
    else {
      const group = { outcome, code, signal, reason, stdout: raw.stdout, stderr: raw.stderr };
      this.#groups.set(key, { names: [result.host], group });
    }
  }

  #digest({ raw, finals, sha256 }: Result, stream: StreamName): string {
    const bytes = raw[stream];
    // Of a result from the history, the digest may be all that is kept.
    if (bytes.length !== finals[stream] && sha256[stream] !== undefined) return sha256[stream];
    let digest = this.#digests.get(bytes);
    if (digest === undefined) this.#digests.set(bytes, (digest = hash('sha256', bytes, 'hex')));
    return digest;
  }

  /** The groups, largest first. */
  groups(): Group[] {
    return [...this.#groups.values()]
      .sort((a, b) => b.names.length - a.names.length)
      .map(({ names, group }) => ({ hosts: new NodeSet(names), ...group }));
  }
}
