/** What one keeper will hold at most. Every number has a name, and an unknown name is refused. */
import { UsageError } from '../../errors.js';

/** The exit code of a keeper that ends because another one has the lock. */
export const ALREADY_RUNNING = 75;

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const HOUR = 3_600_000;

/** The limits and their defaults. Times are in milliseconds, sizes in bytes. */
export const DEFAULT_LIMITS = {
  /** The keeper ends when nothing has run and no agent was connected for this long. 0: never. */
  idleExitMs: 60_000,
  /** Commands at one time; more wait in the queue. No caller gets more than it leaves to others, here and below. */
  maxRunning: 4096,
  maxQueued: 16_384,
  /** What the specs of all runs that are not over may have together: words, variables, shell text, secrets. */
  specTotal: 256 * MIB,
  /** Secrets of one run. */
  maxSecrets: 64,
  /** Bytes of one secret. */
  secretMax: 64 * 1024,
  /** Bytes of all secrets of one run. */
  secretsMax: 256 * 1024,
  /** Runs of a principal that is no owner, until the last process of each has ended. */
  maxRunsPerPrincipal: 1024,
  /**
   * Finished runs that are remembered with their results; those of the principal with the most go first, the oldest
   * before others. Their ids stay until they expire.
   */
  maxEnded: 20_000,
  /** Run ids remembered in all. A remembered id never starts twice. */
  maxIds: 1_000_000,
  /** Run ids remembered of a principal that is no owner; never more than it leaves to others. */
  maxIdsPerPrincipal: 100_000,
  /** Unacknowledged output one run may hold on disk, unless its spec says less. */
  spoolMax: 256 * MIB,
  /** The same for each output stream of a run that keeps nothing. A command that writes more waits for its caller. */
  passingSpool: 16 * MIB,
  /** Output of all runs on disk. */
  spoolTotal: 4 * GIB,
  /** Output on disk of all runs of a principal that is no owner; never more than it leaves to others. */
  spoolPerPrincipal: 1 * GIB,
  /** Lines of the log on disk; the oldest go first, their hashes stay. */
  logTotal: 1 * GIB,
  /** How long a finished run's result and output stay, unless its spec says less. */
  keepMs: 24 * HOUR,
  /** How far in the future a run's notAfter may lie. */
  maxNotAfterMs: 31 * 24 * HOUR,
  /**
   * How long a command that is nothing without its caller waits for one whose process has closed the connection: it may be
   * on its way back.
   */
  callerGraceMs: 30_000,
  /** TERM to KILL, unless the spec says otherwise. */
  killGraceMs: 5000,
  /** stdin bytes taken from the caller ahead of the command. */
  stdinWindow: 256 * 1024,
  /** The same for a command that keeps up with a fast caller. */
  stdinWindowMax: 16 * MIB,
  /** What such windows of all runs may hold beyond the first. */
  stdinTotal: 64 * MIB,
  /** Attachments of one run. */
  maxAttachments: 64,
  /** Runs that all callers of one agent hold together. The agent shares them out, so that no caller can take them all. */
  maxAliases: 65_536,
  maxAgents: 64,
  /** Bytes waiting for one agent before output is announced instead of sent along. */
  agentBacklog: 1 * MIB,
};
/** Limits of a keeper: times in milliseconds, sizes in bytes. */
export type KeeperLimits = typeof DEFAULT_LIMITS;

/**
 * The limits among what an agent sends, which may be of another version: what is no limit here is left out.
 */
export function limitsFrom(sent: unknown): Partial<KeeperLimits> {
  const known = Object.entries(sent ?? {}).filter(
    ([name, value]) => Object.hasOwn(DEFAULT_LIMITS, name) && Number.isSafeInteger(value) && (value as number) >= 0,
  );
  return Object.fromEntries(known);
}

/**
 * Completes limits given by name.
 * @throws UsageError for an unknown name or a value that is no whole number.
 */
export function completeLimits(given: Partial<KeeperLimits> = {}): KeeperLimits {
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(DEFAULT_LIMITS, name))
      throw new UsageError(`unknown keeper limit "${name}", known are ${Object.keys(DEFAULT_LIMITS).join(', ')}`);
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0))
      throw new UsageError(`the keeper limit ${name} must be a whole number, not ${String(value)}`);
  }
  return { ...DEFAULT_LIMITS, ...given };
}
