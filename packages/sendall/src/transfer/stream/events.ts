/** What a transfer tells its caller: an event for each file, live counters, and the result. */

/** Kinds of entries that travel. */
export type EntryKind = 'file' | 'folder' | 'link';

/** What became of one file, folder or link. Both sides of a transfer report the same events. */
export interface FileEvent {
  /**
   * `placed`: it is where it belongs. `same`: it was there already. `failed`: it is not there, and `reason` says why;
   * what was there before is as it was. `skipped`: it is a device, FIFO or socket. `deleted`: the source does not have
   * it, and it was removed.
   */
  readonly state: 'placed' | 'same' | 'failed' | 'skipped' | 'deleted';
  /** The source's name and what lies below it, as bytes. */
  readonly path: Buffer;
  /** Absent when that is not known. */
  readonly kind?: EntryKind | undefined;
  /** The file's size. */
  readonly bytes: number;
  /** SHA-256 of its content. Absent for what was not read, and for files with more than 1 GiB of holes. */
  readonly sha256?: Buffer | undefined;
  /** The errno's name, if it failed with one. */
  readonly errno?: string | undefined;
  /** One sentence, for `failed` and `skipped`. */
  readonly reason?: string | undefined;
}

/** Counters of a transfer under way. */
export interface Progress {
  /** Files, folders and links that are placed, same or failed. */
  settled: number;
  /** Entries that were announced so far. */
  entries: number;
  /** Bytes of the files that were announced so far. */
  expected: number;
  /** Bytes of files whose content is settled or arrived: sent now, kept from earlier, or the same. */
  bytes: number;
  /** Bytes of content that travelled. */
  sent: number;
  /** Whether all entries were announced. */
  complete: boolean;
}

/** What a transfer does not take along. */
export const LEFT_OUT = ['owner', 'xattr', 'acl', 'hardLink', 'setuid'] as const;
/** How many files lost which property on the way. */
export type LeftOut = Partial<Record<(typeof LEFT_OUT)[number], number>>;

/** The outcome of a transfer that came to its end. */
export interface TransferResult {
  readonly placed: number;
  readonly same: number;
  readonly failed: number;
  /** Devices, FIFOs and sockets. */
  readonly skipped: number;
  readonly deleted: number;
  /** Bytes of all placed and same files. */
  readonly bytes: number;
  /** Bytes of content that travelled. */
  readonly sent: number;
  /**
   * Files that lost an owner, extended attributes, an access control list, the link to their other names, or bits of
   * their mode beyond the permissions.
   */
  readonly leftOut: LeftOut;
}

/** A transfer under way. */
export interface FileTransfer {
  /** Live counters. */
  readonly progress: Readonly<Progress>;
  /**
   * Whether sources land in the destination, or the single source as the destination itself: known before the first
   * file event. A transfer that goes on with this one has it as its setting.
   */
  readonly into: boolean | undefined;
  /**
   * Resolves at the end of the transfer, also if files failed.
   * @throws SendallError when the transfer itself failed: a wrong operand, a broken or unfinished stream.
   * @throws the signal's reason when it was aborted.
   */
  readonly result: Promise<TransferResult>;
}
