/** The limits of a transfer: every length and count that comes from the other side has one. */

/** Limits on what the other side of a transfer may send. */
export interface TransferLimits {
  /** Bytes of a frame, its type included. @default 327_680 */
  maxFrame: number;
  /** Bytes of a name. Source: NAME_MAX. @default 255 */
  maxName: number;
  /** Bytes that a link may point to. Source: PATH_MAX. @default 4_096 */
  maxLinkTarget: number;
  /** Folders below each other. @default 256 */
  maxDepth: number;
  /** Entries of one transfer. @default 1_000_000_000 */
  maxEntries: number;
  /** Entries that the sender has announced and the receiver has not settled. @default 2_048 */
  maxUnsettled: number;
  /** Large files among them that wait for their content; each holds a descriptor or two. @default 64 */
  maxOpenFiles: number;
  /** Bytes of a file; a larger one is a problem of its own. @default 9_007_199_254_740_991 */
  maxFileBytes: number;
  /** Patterns of things that are left out. @default 1_000 */
  maxExcludes: number;
  /** Bytes of such a pattern. @default 4_096 */
  maxExcludeLength: number;
  /** Bytes of a reason; a longer one is cut. @default 1_000 */
  maxReason: number;
  /** Milliseconds after which a partial file is removed instead of resumed. @default 86_400_000 */
  partialAge: number;
}

export const limitsOf = (limits: Partial<TransferLimits> = {}): TransferLimits => ({
  maxFrame: 320 * 1024,
  maxName: 255,
  maxLinkTarget: 4096,
  maxDepth: 256,
  maxEntries: 1_000_000_000,
  maxUnsettled: 2048,
  maxOpenFiles: 64,
  maxFileBytes: Number.MAX_SAFE_INTEGER,
  maxExcludes: 1000,
  maxExcludeLength: 4096,
  maxReason: 1000,
  partialAge: 24 * 60 * 60 * 1000,
  ...limits,
});

/** Files up to this size travel with their entry; larger ones wait until the receiver wants them. */
export const CARRIED = 64 * 1024;
/** Bytes of a larger file in one frame. */
export const PIECE = 256 * 1024;
