/** Things that a sender has announced and that the receiver has not settled. */
import type { BigIntStats } from 'node:fs';
import type { Readable } from 'node:stream';
import { Problem } from '../files/problem.js';
import type { EntryKind } from '../stream/events.js';
import type { WalkedFolder } from './walk.js';

/** An entry that is announced and not settled. */
export interface Unsettled {
  readonly kind: EntryKind;
  readonly path: Buffer;
  size: number;
  sha256?: Buffer | undefined;
  readonly walked?: WalkedFolder;
  /** Of a file whose content has not been sent. */
  file?: OpenFile | undefined;
  settled?: boolean;
}

/** A file whose content waits to be wanted. */
export interface OpenFile {
  readonly number: number;
  readonly fd: number;
  readonly stat: BigIntStats | undefined;
  readonly stream?: Readable;
  /** Bytes that the receiver has, and their hash; -1 until it wants the file. */
  offset: number;
  prefix?: Buffer;
}

/** Names a file's content as it is now. */
export const idOf = (stat: BigIntStats): string => `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}`;

export const changedProblem = (): Problem => new Problem('it changed while it was read: try it again');
