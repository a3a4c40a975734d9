/** What an entry of the stream says of a thing that was found, and what it cannot say. */
import type { BigIntStats } from 'node:fs';
import type { Calls } from '../files/calls.js';
import type { LeftOut } from '../stream/events.js';
import type { Body } from '../stream/messages.js';

const NANO = 1_000_000_000n;
const PERMISSIONS = 0o777n;
const SPECIAL_BITS = 0o7000n;

/** Kinds by their numbers in the stream. */
export const KIND = { file: 0, folder: 1, link: 2 } as const;

export function fieldsOf(name: Buffer, kind: keyof typeof KIND, stat: BigIntStats): Body<'entry'> {
  const { mtimeNs } = stat;
  const nanoseconds = ((mtimeNs % NANO) + NANO) % NANO;
  const seconds = Number((mtimeNs - nanoseconds) / NANO);
  return {
    name,
    kind: KIND[kind],
    mode: Number(stat.mode & PERMISSIONS),
    seconds: seconds < 0 ? -2 * seconds - 1 : 2 * seconds,
    nanoseconds: Number(nanoseconds),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
  };
}

/** What of a file does not travel. */
export function lossesOf(fd: number, stat: BigIntStats, { attributes }: Calls): (keyof LeftOut)[] {
  const losses: (keyof LeftOut)[] = [];
  if (stat.mode & SPECIAL_BITS) losses.push('setuid');
  if (stat.nlink > 1n) losses.push('hardLink');
  const names = attributes?.(fd) ?? [];
  if (names.some((name) => name.startsWith('system.posix_acl'))) losses.push('acl');
  if (names.some((name) => name.startsWith('user.') || name === 'security.capability')) losses.push('xattr');
  return losses;
}
