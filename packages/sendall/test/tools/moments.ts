/** Moments at which an agent is killed: when so many bytes have passed, or when commands have come to a gate. */
import { readdirSync, writeFileSync } from 'node:fs';

export interface Passing {
  /** Bytes that have passed between the caller and the agent. */
  readonly passed: number;
}

export interface Gate {
  /** For the shells of the commands: waits until after the kill. */
  readonly text: string;
  isNow(): boolean;
  /** Lets them go on, when the agent is back. */
  open(): void;
}

export type Moment = Passing | Gate;

/** Bytes after which a program has its link. One that does not reach its host at first gives up, as with ssh. */
const LINKED = 64 * 1024;

/**
 * `times` moments, spread at random over the first four fifths of the bytes that a program has to move, behind those of
 * its link and of `before`.
 */
export function whilePassing(bytes: number, seed: number, { times = 2, before = 0 } = {}): Passing[] {
  let state = seed;
  return Array.from({ length: times }, (_, i) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return { passed: before + LINKED + Math.floor((0.8 * bytes * (i + (state >>> 8) / 0x800000)) / times) };
  });
}

/** A gate in the way of so many commands. */
export function gate(folder: string, commands = 1): Gate {
  return {
    text: `mktemp -p ${folder} -t waiting.XXXXXX >/dev/null; until [ -e ${folder}/open ]; do sleep 0.02; done`,
    isNow: () => readdirSync(folder).filter((name) => name.startsWith('waiting')).length === commands,
    open: () => writeFileSync(`${folder}/open`, ''),
  };
}
