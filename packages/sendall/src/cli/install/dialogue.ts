/**
 * What the two halves of an installation say to each other over ssh: lines that begin with a mark, as a login may print
 * lines of its own. First the shell script of `bootstrap.ts` answers, in words; then `sendall settle`, in JSON.
 */

/** Begins each line from the host. */
export const MARK = 'sendall-install:';

/** What `sendall settle` is asked. Versions may differ: the halves ignore fields that they do not know. */
export interface SettleRequest {
  readonly verb: 'install' | 'upgrade' | 'uninstall';
  /** The agent's name; for `install`. */
  readonly name?: string;
  /** Where the agent listens; for `install`. */
  readonly listen?: string;
  /** The key that may call from now on; for `install`. */
  readonly caller?: { readonly fingerprint: string; readonly name: string };
  /** For `uninstall`: end running commands. */
  readonly runs?: boolean;
  /** For `uninstall`: remove keys, past runs and their output, too. */
  readonly purge?: boolean;
}

/** The agent runs, and the host waits for "commit" or "undo". */
export interface Settled {
  readonly fingerprint: string;
  readonly listening: readonly string[];
  readonly version: string;
  /** Commands that run there now. */
  readonly runs: number;
}

export type SettleReply =
  | { readonly settled: Settled }
  /** It could not be done. `now`: how it is after what was begun was undone; absent: nothing was begun. */
  | { readonly failed: string; readonly now?: string }
  /** As asked; the words say how it is now. */
  | { readonly undone: string }
  | { readonly done: Done };

/** The end of what was asked, and what its user should know. */
export interface Done {
  readonly notes: readonly string[];
}

/** The last word to `sendall settle`. The end of its stdin means `undo`. */
export type Verdict = 'commit' | 'undo';
