/** The options of a transfer: described, defaulted and checked here and nowhere else. */
import type { Writable } from 'node:stream';
import { UsageError } from '../../errors.js';
import { readDuration, type Duration } from '../../text/duration.js';
import {
  check,
  checkOptions,
  either,
  flag,
  having,
  listOf,
  name,
  oneOf,
  whole,
  word,
  type Rule,
  type Rules,
} from '../options/check.js';
import { RUN_RULES, toBytes, type RunOptions, type Word } from '../options/options.js';

/** How files travel, and how they are put in their places. */
export interface TransferOptions extends Pick<
  RunOptions,
  'runId' | 'name' | 'tags' | 'runAs' | 'startWithin' | 'giveUpAfter' | 'signal' | 'reject'
> {
  /**
   * The mode of every file that is placed, without the bits for set-user-id, set-group-id and sticky.
   * @default each file keeps its own
   */
  mode?: number;
  /**
   * A file is complete before it takes its name. False: it is written where it stands, for a file that must keep its
   * inode or a folder in which no other file may be made.
   * @default true
   */
  atomic?: boolean;
  /**
   * A file of which an earlier transfer brought a part goes on behind that part, after its hash was compared.
   * @default true
   */
  resume?: boolean;
  /**
   * Whether files are the same is decided by their hashes instead of size and time.
   * @default false
   */
  checksum?: boolean;
  /**
   * Removes from destination folders what the source's folders do not have.
   * @default false
   */
  delete?: boolean;
  /**
   * Patterns of names that are left out, with `*`, `?` and `**`; with a slash in it, a pattern is compared with the path
   * below the source. What is left out is not removed by `delete` either.
   * @default none
   */
  exclude?: readonly string[];
  /**
   * When files are written through to the disk: all of them at the "end", "each" before it takes its name, or "none".
   * @default 'end'
   */
  fsync?: 'end' | 'each' | 'none';
  /**
   * Reports what would be done, and changes nothing.
   * @default false
   */
  dryRun?: boolean;
  /**
   * Further runs when a run of the transfer is lost, for example because the host restarted. Each goes on where the files
   * are, by their hashes. A source or a target that is a stream is not tried again.
   * @default 2
   */
  retry?: number;
  /**
   * Milliseconds from this call to the result, over all tries. 0: never.
   * @default 0
   */
  deadline?: Duration;
}

/** What is pushed: the path of a file or folder here, several paths, or the content of one file as a stream. */
export type TransferSource = Word | readonly Word[] | AsyncIterable<Uint8Array | string>;

/** Where a pull puts what it gets: a path here, or a stream for the content of one file. */
export type TransferTarget = Word | Writable;

const { runId, tags, runAs, startWithin, giveUpAfter, signal, reject, deadline } = RUN_RULES;

/** Permission bits; set-user-id and the like are never set by a transfer. */
const MODES = 0o777;
/** Limits of the patterns: their number, and the characters of one. */
const MOST_PATTERNS = 1000;
const LONGEST_PATTERN = 4096;

const pattern: Rule = {
  allowed: `a pattern of 1 to ${LONGEST_PATTERN} characters`,
  fits: (value) =>
    typeof value === 'string' && value !== '' && value.length <= LONGEST_PATTERN && !value.includes('\0'),
};
const patterns: Rule = {
  allowed: `an array of at most ${MOST_PATTERNS} patterns of 1 to ${LONGEST_PATTERN} characters`,
  fits: (value) => listOf(pattern).fits(value) && (value as unknown[]).length <= MOST_PATTERNS,
};

/** The allowed values of each option. */
export const TRANSFER_RULES: Rules<TransferOptions> = {
  runId,
  name,
  tags,
  runAs,
  startWithin,
  giveUpAfter,
  signal,
  reject,
  deadline,
  mode: {
    allowed: 'a mode from 0o000 to 0o777',
    fits: (value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MODES,
  },
  atomic: flag,
  resume: flag,
  checksum: flag,
  delete: flag,
  exclude: patterns,
  fsync: oneOf('end', 'each', 'none'),
  dryRun: flag,
  retry: whole('runs'),
};

const path: Rule = {
  allowed: 'a path: text or bytes, at least one, without NUL',
  fits: (value) => word.fits(value) && isPath(value as Word),
};
const stream: Rule = {
  allowed: 'a stream or a generator of bytes or text',
  fits: (value) => [Symbol.asyncIterator, 'getReader'].some((method) => having('', method).fits(value)),
};
const writable = having('a Writable', 'write', 'end', 'on');
const paths: Rule = {
  allowed: 'an array of paths, at least one',
  fits: (value) => listOf(path).fits(value) && (value as unknown[]).length > 0,
};

function isPath(value: Word): boolean {
  return value.length > 0 && !(typeof value === 'string' ? value.includes('\0') : value.includes(0));
}

/** A transfer's options with every default in place. */
export interface PreparedTransfer {
  readonly direction: 'push' | 'pull';
  /** Paths; none if there is content. */
  readonly sources: readonly Uint8Array[];
  /** The only source, as a stream. */
  readonly content: AsyncIterable<Uint8Array | string> | undefined;
  readonly destination: Uint8Array | Writable;
  readonly placing: {
    readonly mode: number | undefined;
    readonly atomic: boolean;
    readonly resume: boolean;
    readonly checksum: boolean;
    readonly delete: boolean;
    readonly exclude: readonly string[];
    readonly fsync: 'end' | 'each' | 'none';
    readonly dryRun: boolean;
  };
  /** Options of each of its runs. */
  readonly run: RunOptions;
  readonly retry: number;
  readonly reject: boolean;
  readonly signal: AbortSignal | undefined;
  /** When the result is due, on the clock of `performance.now()`. */
  readonly deadlineAt: number | undefined;
}

/**
 * Checks what is to be transferred, and the options.
 * @throws UsageError that names what is wrong.
 */
export function prepareTransfer(
  direction: 'push' | 'pull',
  sources: TransferSource,
  destination: TransferTarget,
  options: TransferOptions = {},
): PreparedTransfer {
  checkOptions<TransferOptions>(direction, options, TRANSFER_RULES);
  const isPush = direction === 'push';
  check('the source', sources ?? null, isPush ? either(path, paths, stream) : either(path, paths));
  check('the destination', destination ?? null, isPush ? path : either(path, writable));
  const content =
    isWord(sources) || Array.isArray(sources) ? undefined : (sources as AsyncIterable<Uint8Array | string>);
  const isStream = !isWord(destination) || content !== undefined;
  if (isStream && options.delete) throw new UsageError('delete: a stream has no folders to compare');
  if (isStream && options.exclude?.length) throw new UsageError('exclude: a stream has no names to compare');
  if (!isWord(destination) && Array.isArray(sources) && sources.length > 1)
    throw new UsageError('the destination is a stream, which takes the content of one file: name one source');
  const { mode, fsync = 'end', exclude = [], retry = 2, signal: abort, reject: throws = true } = options;
  const { runId: id, name: named, tags: words, runAs: user, startWithin: within, giveUpAfter: patience } = options;
  const due = readDuration(options.deadline) || undefined;
  return {
    direction,
    sources: content ? [] : pathsIn(sources as Word | readonly Word[]),
    content,
    destination: isWord(destination) ? toBytes(destination) : destination,
    placing: {
      mode,
      atomic: options.atomic ?? true,
      resume: options.resume ?? true,
      checksum: options.checksum ?? false,
      delete: options.delete ?? false,
      exclude: [...exclude],
      fsync,
      dryRun: options.dryRun ?? false,
    },
    run: {
      ...given({ runId: id, name: named, tags: words, runAs: user, startWithin: within, giveUpAfter: patience }),
      reject: false,
    },
    retry: isStream ? 0 : retry,
    reject: throws,
    signal: abort,
    deadlineAt: due === undefined ? undefined : performance.now() + due,
  };
}

const pathsIn = (sources: Word | readonly Word[]): Uint8Array[] => (isWord(sources) ? [sources] : sources).map(toBytes);

const isWord = (value: unknown): value is Word => typeof value === 'string' || value instanceof Uint8Array;

/** The fields that are defined. */
function given(fields: Readonly<Record<string, unknown>>): RunOptions {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
