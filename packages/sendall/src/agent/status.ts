/** What an agent says about itself and its keeper. */
import { statfsSync } from 'node:fs';
import type { EngineFiles } from '../keys/engine.js';
import type { Control } from '../protocol/messages.js';
import { limitsByName, type AgentLimitName, type KeeperLimitName } from './limits.js';

/** Answers to "status". */
export interface AgentStatus {
  readonly pid: number;
  readonly keeperPid: number | undefined;
  /** Another than `version` while commands run that were started before an upgrade. */
  readonly keeperVersion: string | undefined;
  readonly listening: readonly string[];
  readonly runs: number;
  readonly version: string;
  readonly fingerprint: string;
  readonly name: string;
  readonly links: number;
  /** Connections whose callers are not known yet. */
  readonly unestablished: number;
  /** How often callers came back to a run on another link, since the agent started. */
  readonly resumes: number;
  /** Bytes of output that were sent to them again, since the agent started. */
  readonly replayedBytes: number;
  readonly limits: AgentLimits;
  /** Those of the limits that were given to it; the others are the defaults. */
  readonly givenLimits: Readonly<Record<string, number>>;
  /** Bytes of output on the disk, and what is free there. */
  readonly spooled: number | undefined;
  readonly diskFree: number;
  /** The system calls that Node lacks are there: terminals, exact and ordered capture, another user's commands. */
  readonly native: boolean | undefined;
  /** "cgroup" or "unproven": how sure the end of a command's whole tree is. */
  readonly killProof: string | undefined;
  /** When memory runs out the kernel ends commands before the keeper: it could lower its own OOM score. */
  readonly keeperIsLastToGo: boolean | undefined;
  /**
   * Why memory or processes of a command cannot be limited on this host; null if they can. Undefined when the keeper is too
   * old to say.
   */
  readonly cannotLimit: string | null | undefined;
  /**
   * Why the host starts no transfers and forwards no connections; null if it does. Undefined when the keeper is too old to
   * say.
   */
  readonly cannotTransfer: string | null | undefined;
  /**
   * Names of limits and the like that commands get otherwise than the agent's starter has them: the keeper was started
   * before, and may not change them. Undefined when the keeper is too old to say.
   */
  readonly notAdopted: readonly string[] | undefined;
  /** What callers who are no owners may do. */
  readonly policy: PolicyStatus;
  /** Why the list of callers cannot be read; nothing of callers over the network starts meanwhile. */
  readonly callersProblem: string | undefined;
  /** The host's log; undefined when the keeper is too old to have one. */
  readonly log: LogStatus | undefined;
  /** Folders with what was set aside because the run journal was damaged, the oldest first; until they are removed. */
  readonly setAside: readonly string[];
  /** Files for its connection to a broker. */
  readonly broker: EngineFiles;
  /** Brokers in `listening` that are not connected now. */
  readonly unreached: readonly { readonly url: string; readonly reason: string }[];
}

/** The state of a log. */
export interface LogStatus {
  readonly records: number;
  /** Records that wait for room on the disk. */
  readonly held: number;
  /** Why it cannot be written, so that nothing starts, or why its heads are not signed. */
  readonly problem: string | undefined;
}

/** The state of a policy. */
export interface PolicyStatus {
  /** Counts the states of its file since the agent started; 0: there is none. */
  readonly rev: number;
  /** Of the file whose rules hold, in hex; empty: there is none. */
  readonly sha256: string;
  readonly rules: number;
  /** Why the file is not obeyed as it is now. The rules before it hold, and callers who are no owners start nothing. */
  readonly problem: string | undefined;
  /** The agent is root, so it can serve others than owners. */
  readonly isRoot: boolean;
}

/**
 * What the agent and its keeper hold at most, by the names that `sendall agent --limit` has too; its help says what each
 * limits. Sizes in bytes, times in milliseconds. The keeper's are undefined where an older one does not have them.
 */
export type AgentLimits = { readonly [name in AgentLimitName]: number } & {
  readonly [name in KeeperLimitName]: number | undefined;
};

/** The keeper's part of a status. */
export type KeeperPart = Pick<
  AgentStatus,
  | 'runs'
  | 'spooled'
  | 'native'
  | 'killProof'
  | 'keeperIsLastToGo'
  | 'cannotLimit'
  | 'cannotTransfer'
  | 'notAdopted'
  | 'log'
> & { readonly limits: Pick<AgentLimits, KeeperLimitName> };

/** Reads the keeper's answer to "status". It may be of another version: what it does not say is undefined. */
export function keeperPartOf(answer: Control): KeeperPart {
  const { running, queued, spoolBytes, native, proof, lastToGo, cannotLimit, cannotTransfer, different, log, limits } =
    (answer.type === 'ANSWER' && answer.body ? JSON.parse(answer.body) : {}) as {
      running?: number;
      queued?: number;
      spoolBytes?: number;
      native?: boolean;
      proof?: string;
      lastToGo?: boolean;
      cannotLimit?: string | null;
      cannotTransfer?: string | null;
      different?: string[];
      log?: { size: number; held: number; failed?: string };
      limits?: object;
    };
  return {
    runs: (running ?? 0) + (queued ?? 0),
    spooled: spoolBytes,
    native,
    killProof: proof,
    keeperIsLastToGo: lastToGo,
    cannotLimit,
    cannotTransfer,
    notAdopted: different,
    log: log && { records: log.size, held: log.held, problem: log.failed },
    limits: limitsByName('keeper', limits ?? {}) as Pick<AgentLimits, KeeperLimitName>,
  };
}

/** Bytes that are free on the disk of a folder. */
export function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}
