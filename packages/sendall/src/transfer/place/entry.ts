/** What the stream says of a thing that it announces, as the one who places it needs it. */
import { ProtocolError } from '../../errors.js';
import { checkName } from '../files/names.js';
import type { EntryKind } from '../stream/events.js';
import { CARRIED, type TransferLimits } from '../stream/limits.js';
import type { Body } from '../stream/messages.js';
import type { Properties } from './placing.js';

/** An entry with the content that it carries. */
export type Entry = Body<'entry'> & { readonly content: Buffer };

/** Kinds by their numbers in the stream. */
export const kinds = ['file', 'folder', 'link'] as const satisfies readonly EntryKind[];

const HIGHEST_MODE = 0o777;
const SECOND = 1_000_000_000;
const MICROSECOND = 1000n;

/**
 * The kind of an entry whose fields are as they should be.
 * @throws ProtocolError
 */
export function kindOf(entry: Entry, { maxName }: TransferLimits): EntryKind {
  checkName(entry.name, maxName);
  const kind = kinds[entry.kind];
  if (!kind || entry.mode > HIGHEST_MODE || entry.nanoseconds >= SECOND)
    throw new ProtocolError('entry: a kind, mode or time that there is not');
  const { content, carried, size, sha256 } = entry;
  if (content.length && !carried) throw new ProtocolError('entry: content that was not announced');
  if (kind === 'file' && carried && (size !== content.length || size > CARRIED || !sha256))
    throw new ProtocolError('entry: content that does not fit its fields');
  return kind;
}

/** `mode`: instead of its own. */
export function propertiesOf({ seconds, nanoseconds, mode: own }: Body<'entry'>, mode = own): Properties {
  return { mode, seconds: seconds % 2 ? -(seconds + 1) / 2 : seconds / 2, nanoseconds };
}

/** Whether a file has this time. `exact`: to the nanosecond. */
export function isTimeOf(mtimeNs: bigint, { seconds, nanoseconds }: Properties, exact: boolean): boolean {
  const apart = mtimeNs - (BigInt(seconds) * BigInt(SECOND) + BigInt(nanoseconds));
  return exact ? apart === 0n : apart <= MICROSECOND && apart >= -MICROSECOND;
}

/** A time as Node wants it. */
export const secondsOf = ({ seconds, nanoseconds }: Properties): number => seconds + nanoseconds / SECOND;

/** Whether a file belonged to another user than the one that it will belong to. */
export const isForeign = ({ uid, gid }: Body<'entry'>): boolean =>
  (uid !== undefined && uid !== process.geteuid?.()) || (gid !== undefined && gid !== process.getegid?.());
