/** Moments at which an agent is killed: when so many bytes have arrived, or when a command has come to a gate. */
import { readdirSync, writeFileSync } from 'node:fs';
import { bytesBelow } from './trees.js';

export interface Moment {
  isNow(): boolean;
  /** What happens after the kill, when the agent is back. */
  afterwards?(): void;
}

/** `times` moments, spread at random over the first four fifths of the bytes that a folder gets. */
export function whileFilling(folder: string, bytes: number, seed: number, times = 2): Moment[] {
  let state = seed;
  const before = bytesBelow(folder);
  return Array.from({ length: times }, (_, i) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    const place = Math.floor((0.8 * bytes * (i + (state >>> 8) / 0x800000)) / times);
    return { isNow: () => bytesBelow(folder) - before > place };
  });
}

/** A gate in the way of so many commands: `text` is for their shells, and waits until after the kill. */
export function gate(folder: string, commands = 1): Moment & { readonly text: string } {
  return {
    text: `mktemp -p ${folder} -t waiting.XXXXXX >/dev/null; until [ -e ${folder}/open ]; do sleep 0.02; done`,
    isNow: () => readdirSync(folder).filter((name) => name.startsWith('waiting')).length === commands,
    afterwards: () => writeFileSync(`${folder}/open`, ''),
  };
}
