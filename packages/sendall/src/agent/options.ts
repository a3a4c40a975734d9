/** The options of an agent: described, defaulted and checked here, and complete everywhere else. */
import { hostname } from 'node:os';
import { UsageError } from '../errors.js';
import { resolveHome, type Home } from '../home.js';
import type { EngineFiles } from '../keys/engine.js';
import { durationOption, type Duration } from '../text/duration.js';
import { LIMIT_NAMES, type LimitName } from './limit-names.js';

/** Where an agent listens, and its limits. */
export interface AgentOptions {
  /**
   * Folders of this installation.
   * @default from SENDALL_HOME and the XDG variables
   */
  home?: Home;
  /**
   * The name told to callers.
   * @default the machine's host name
   */
  name?: string;
  /**
   * More addresses beside the Unix socket: tls://HOST:PORT, or a broker's, nats://HOST:PORT,…[/FLEET].
   * @default []
   */
  listen?: readonly string[];
  /**
   * Files that let us in at the broker.
   * @default none
   */
  broker?: EngineFiles;
  /**
   * Time for a TLS handshake, and again for HELLO and AUTH.
   * @default 5000
   */
  handshakeTimeout?: Duration;
  /**
   * Runs that one link may hold at once.
   * @default 8192
   */
  maxRunsPerLink?: number;
  /**
   * Questions (lists, status) that one link may have open at once.
   * @default 64
   */
  maxQuestions?: number;
  /**
   * Bytes of output read from disk that may wait for one link.
   * @default 16 MiB
   */
  readAhead?: number;
  /**
   * Links at once: for each address of `listen`, and for the Unix socket.
   * @default 4096
   */
  maxConnections?: number;
  /**
   * Links of one source (an IPv4 address or the /64 of an IPv6 address) whose callers are not known yet. One more
   * displaces the oldest of them.
   * @default 1024
   */
  maxUnestablishedPerSource?: number;
  /**
   * Links of one principal, unless it is an owner.
   * @default 256
   */
  maxLinksPerPrincipal?: number;
  /**
   * Runs that all links of one principal may hold at once, unless it is an owner.
   * @default 4096
   */
  maxAttachmentsPerPrincipal?: number;
  /**
   * Questions (lists, status) that all links of one principal may have open at once, unless it is an owner.
   * @default 128
   */
  maxQuestionsPerPrincipal?: number;
  /**
   * Silence after which a caller's link counts as lost.
   * @default 60000
   */
  pingDeadline?: Duration;
  /**
   * How long the keeper stays without an agent and without runs.
   * @default the keeper's own, 60000
   */
  keeperIdleExit?: Duration;
}

/** Options as the agent uses them. Times in milliseconds, sizes in bytes. */
export interface AgentSettings {
  readonly home: Home;
  readonly name: string;
  readonly listen: readonly string[];
  readonly broker: EngineFiles;
  readonly handshakeTimeout: number;
  readonly maxRunsPerLink: number;
  readonly maxQuestions: number;
  readonly readAhead: number;
  readonly maxConnections: number;
  readonly maxUnestablishedPerSource: number;
  readonly maxLinksPerPrincipal: number;
  readonly maxAttachmentsPerPrincipal: number;
  readonly maxQuestionsPerPrincipal: number;
  readonly pingDeadline: number;
  readonly keeperIdleExit: number | undefined;
}

/** The limits among options, by the names that the agent's status has for them; without those that are not given. */
export function limitsIn(options: AgentOptions): Partial<Record<LimitName, number>> {
  const given = Object.entries(LIMIT_NAMES).filter(([, option]) => options[option] !== undefined);
  return Object.fromEntries(given.map(([name, option]) => [name, options[option]]));
}

type Readers = { readonly [K in keyof AgentSettings]: (name: K, value: AgentOptions[K]) => AgentSettings[K] };

const time = (byDefault: number) => (name: string, value: Duration | undefined) =>
  durationOption(name, value) ?? byDefault;

const count = (byDefault: number) => (name: string, value: number | undefined) => {
  const number = value ?? byDefault;
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new UsageError(`${name}: ${JSON.stringify(value)} is not a whole number above 0`);
};

/** How each option is read. */
const OPTIONS: Readers = {
  home: (_, value) => value ?? resolveHome(),
  name: (name, value = hostname()) => {
    if (typeof value !== 'string') throw new UsageError(`${name}: ${JSON.stringify(value)} is not text`);
    return value;
  },
  listen: (name, value = []) => {
    if (!Array.isArray(value) || !value.every((url) => typeof url === 'string'))
      throw new UsageError(`${name}: ${JSON.stringify(value)} is not a list of addresses`);
    return value;
  },
  broker: (name, value = {}) => {
    if (
      typeof value === 'object' &&
      Object.values(value).every((path) => path === undefined || typeof path === 'string')
    )
      return value;
    throw new UsageError(`${name}: it is not a record of file names`);
  },
  handshakeTimeout: time(5000),
  maxRunsPerLink: count(8192),
  maxQuestions: count(64),
  readAhead: count(16 * 1024 * 1024),
  maxConnections: count(4096),
  maxUnestablishedPerSource: count(1024),
  maxLinksPerPrincipal: count(256),
  maxAttachmentsPerPrincipal: count(4096),
  maxQuestionsPerPrincipal: count(128),
  pingDeadline: time(60_000),
  keeperIdleExit: durationOption,
};

/**
 * Completes options given by name.
 * @throws UsageError for an unknown name or a wrong value.
 */
export function completeAgentOptions(options: AgentOptions): AgentSettings {
  for (const name of Object.keys(options))
    if (!(name in OPTIONS)) throw new UsageError(`there is no agent option "${name}"`);
  const read = <K extends keyof AgentSettings>(name: K) => [name, OPTIONS[name](name, options[name])] as const;
  const names = Object.keys(OPTIONS) as (keyof AgentSettings)[];
  return Object.fromEntries(names.map(read)) as unknown as AgentSettings;
}
