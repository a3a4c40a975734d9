/** The options of an agent: described, defaulted and checked here, and complete everywhere else. */
import { hostname } from 'node:os';
import { UsageError } from '../errors.js';
import { resolveHome, type Home } from '../home.js';
import type { EngineFiles } from '../keys/engine.js';
import { durationOption, type Duration } from '../text/duration.js';
import { completeLimits, type KeeperLimits } from '../keeper/door/door.js';
import { limitsByName, type AgentLimitOption, type LimitName } from './limits.js';

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
   * Links of one source (see below) whose callers are known.
   * @default 2048
   */
  maxConnectionsPerSource?: number;
  /**
   * Links of one source (an IPv4 address or the /64 of an IPv6 address) whose callers are not known yet. One more
   * displaces the oldest of them.
   * @default 1024
   */
  maxUnestablishedPerSource?: number;
  /**
   * Such links of a source from which a known caller came lately that go last when strangers fill all places.
   * @default 8
   */
  reservedPerSource?: number;
  /**
   * Sources of known callers that are remembered.
   * @default 4096
   */
  maxKnownSources?: number;
  /**
   * How long a source is remembered after a known caller came from it.
   * @default 2592000000
   */
  knownSourceAge?: Duration;
  /**
   * Sources whose failures are remembered.
   * @default 10000
   */
  maxFailedSources?: number;
  /**
   * Links through a broker whose callers are not known yet. One more displaces the oldest of them.
   * @default 8
   */
  maxBrokerStrangers?: number;
  /**
   * TLS handshakes of known callers through a broker at once.
   * @default 256
   */
  maxBrokerHandshakes?: number;
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
  /**
   * Limits of the keeper, in milliseconds and bytes. A keeper obeys the agent that came to it last; what is left out has its
   * default then.
   * @default {}
   */
  keeperLimits?: Partial<KeeperLimits>;
}

/** Options as the agent uses them. Times in milliseconds, sizes in bytes. */
export interface AgentSettings extends Readonly<Record<AgentLimitOption, number>> {
  readonly home: Home;
  readonly name: string;
  readonly listen: readonly string[];
  readonly broker: EngineFiles;
  /** Those that were given. */
  readonly keeperLimits: Partial<KeeperLimits>;
}

/** The limits that were given, by the names that the agent's status has for them. */
export function givenLimits(options: AgentOptions): { readonly [name in LimitName]?: number } {
  const settings = completeAgentOptions(options);
  const own = Object.entries(settings).filter(([name]) => options[name as keyof AgentOptions] !== undefined);
  return { ...limitsByName('agent', Object.fromEntries(own)), ...limitsByName('keeper', settings.keeperLimits) };
}

type Readers = {
  readonly [K in keyof AgentSettings]: (name: K, value: AgentOptions[K], options: AgentOptions) => AgentSettings[K];
};

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
  maxConnectionsPerSource: count(2048),
  maxUnestablishedPerSource: count(1024),
  reservedPerSource: count(8),
  maxKnownSources: count(4096),
  knownSourceAge: time(30 * 24 * 3_600_000),
  maxFailedSources: count(10_000),
  maxBrokerStrangers: count(8),
  maxBrokerHandshakes: count(256),
  maxLinksPerPrincipal: count(256),
  maxAttachmentsPerPrincipal: count(4096),
  maxQuestionsPerPrincipal: count(128),
  pingDeadline: time(60_000),
  keeperLimits: (_, value = {}, { keeperIdleExit }) => {
    const idleExitMs = durationOption('keeperIdleExit', keeperIdleExit);
    const limits = idleExitMs === undefined ? value : { ...value, idleExitMs };
    completeLimits(limits);
    return limits;
  },
};

/**
 * Completes options given by name.
 * @throws UsageError for an unknown name or a wrong value.
 */
export function completeAgentOptions(options: AgentOptions): AgentSettings {
  for (const name of Object.keys(options))
    if (!(name in OPTIONS || name === 'keeperIdleExit')) throw new UsageError(`there is no agent option "${name}"`);
  const read = <K extends keyof AgentSettings>(name: K) => [name, OPTIONS[name](name, options[name], options)] as const;
  const names = Object.keys(OPTIONS) as (keyof AgentSettings)[];
  return Object.fromEntries(names.map(read)) as unknown as AgentSettings;
}
