/** What the caller of a transfer wants of both sides. It travels in the stream's header, so the host obeys it too. */
import { UsageError } from '../../errors.js';
import type { TransferLimits } from './limits.js';

/** How a transfer treats the files that it sends and the folders that it finds. */
export interface TransferSettings {
  /** Removes from the sent folders what the source does not have. Excluded names stay. @default false */
  delete?: boolean;
  /** Patterns of what is left out; see `Exclusion`. @default [] */
  exclude?: readonly (string | Uint8Array)[];
  /** Compares contents by SHA-256, instead of size and time only. @default false */
  checksum?: boolean;
  /**
   * When files are written to the disk. `end`: in groups, each before it is placed. `each`: one by one. `none`: when the
   * system likes.
   * @default 'end'
   */
  fsync?: 'end' | 'each' | 'none';
  /** Tells what would happen and changes nothing. @default false */
  dryRun?: boolean;
  /** Permissions of the placed files, up to 0o777. @default those of the source */
  mode?: number;
  /** Places whole files only. When false, each is written where it belongs, over what is there. @default true */
  atomic?: boolean;
  /**
   * Whether sources land in the destination, under their names, or the single source as the destination itself.
   * @default as for cp: in it if it ends in a slash, is a folder already, or there are several sources
   */
  into?: boolean;
  /** Goes on with a large file where an earlier transfer of it ended. @default true */
  resume?: boolean;
}

export const FSYNC = ['end', 'each', 'none'] as const;
const HIGHEST_MODE = 0o777;

/** Settings after their check, without gaps. */
export interface CheckedSettings {
  readonly delete: boolean;
  readonly exclude: readonly Uint8Array[];
  readonly checksum: boolean;
  readonly fsync: (typeof FSYNC)[number];
  readonly dryRun: boolean;
  readonly mode: number | undefined;
  readonly atomic: boolean;
  readonly resume: boolean;
  readonly into: boolean | undefined;
}

/**
 * Checks settings and fills in the defaults.
 * @throws UsageError for one that is wrong.
 */
export function checkSettings(settings: TransferSettings, limits: TransferLimits): CheckedSettings {
  const exclude = (settings.exclude ?? []).map((pattern) =>
    typeof pattern === 'string' ? Buffer.from(pattern) : pattern,
  );
  if (exclude.length > limits.maxExcludes)
    throw new UsageError(`exclude: ${exclude.length} patterns, more than ${limits.maxExcludes} (maxExcludes)`);
  for (const { length } of exclude)
    if (length === 0 || length > limits.maxExcludeLength)
      throw new UsageError(
        `exclude: a pattern of ${length} bytes; it has 1 to ${limits.maxExcludeLength} (maxExcludeLength)`,
      );
  const { mode, fsync = 'end', atomic = true, resume = true } = settings;
  if (mode !== undefined && (!Number.isInteger(mode) || mode < 0 || mode > HIGHEST_MODE))
    throw new UsageError(`mode: ${mode}; permissions are 0 to 0o777`);
  if (!FSYNC.includes(fsync)) throw new UsageError(`fsync: "${fsync}"; there are ${FSYNC.join(', ')}`);
  return {
    delete: settings.delete ?? false,
    exclude,
    checksum: settings.checksum ?? false,
    fsync,
    dryRun: settings.dryRun ?? false,
    mode,
    atomic,
    resume,
    into: settings.into,
  };
}
