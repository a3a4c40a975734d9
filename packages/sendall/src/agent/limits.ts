/**
 * Every limit of an agent and of its keeper: its name in the status, on the command line and in the docs, its option, its
 * unit, and what it limits.
 */
import type { KeeperLimits } from '../keeper/door/limits.js';

/** How a limit is written: a whole number, a size such as 64M, or a time such as 30s. */
export type LimitUnit = 'NUMBER' | 'SIZE' | 'TIME';
type Row = readonly [name: string, unit: LimitUnit, about: string];

/** The agent's own, by option. */
const agent = {
  maxConnections: ['connections', 'NUMBER', 'links at once, for each address and for the Unix socket'],
  maxConnectionsPerSource: ['connectionsPerSource', 'NUMBER', 'links of known callers from one source'],
  maxUnestablishedPerSource: [
    'unestablishedPerSource',
    'NUMBER',
    'links of one source whose callers are not known yet',
  ],
  reservedPerSource: ['reservedPerSource', 'NUMBER', 'such links of a known source that go last in a flood'],
  maxKnownSources: ['knownSources', 'NUMBER', 'sources of known callers that are remembered'],
  knownSourceAge: ['knownSourceAge', 'TIME', 'how long a source is remembered after a known caller came from it'],
  maxFailedSources: ['failedSources', 'NUMBER', 'sources whose failures are remembered'],
  maxBrokerStrangers: ['brokerStrangers', 'NUMBER', 'links through a broker whose callers are not known yet'],
  maxBrokerHandshakes: ['brokerHandshakes', 'NUMBER', 'TLS handshakes of known callers through a broker'],
  handshakeTimeout: ['handshakeTimeout', 'TIME', 'time for a TLS handshake, and again for HELLO and AUTH'],
  pingDeadline: ['pingDeadline', 'TIME', 'silence after which a link counts as lost'],
  maxRunsPerLink: ['runsPerLink', 'NUMBER', 'runs that one link holds'],
  maxQuestions: ['questions', 'NUMBER', 'questions (lists, status) that one link has open'],
  readAhead: ['readAhead', 'SIZE', 'output read from disk that waits for one link'],
  maxLinksPerPrincipal: ['linksPerPrincipal', 'NUMBER', 'links of one principal that is no owner'],
  maxAttachmentsPerPrincipal: ['attachmentsPerPrincipal', 'NUMBER', 'runs that all links of such a principal hold'],
  maxQuestionsPerPrincipal: [
    'questionsPerPrincipal',
    'NUMBER',
    'questions that all links of such a principal have open',
  ],
} as const satisfies Readonly<Record<string, Row>>;

/** The keeper's, by option. */
const keeper = {
  maxRunning: ['running', 'NUMBER', 'commands at one time; more wait'],
  maxQueued: ['queued', 'NUMBER', 'commands that wait'],
  maxRunsPerPrincipal: [
    'runsPerPrincipal',
    'NUMBER',
    'runs of one principal that is no owner, until the last process of each has ended',
  ],
  specTotal: ['specTotal', 'SIZE', 'words, variables, shell text and secrets of all runs that are not over'],
  maxSecrets: ['secrets', 'NUMBER', 'secrets of one run'],
  secretMax: ['secretSize', 'SIZE', 'one secret'],
  secretsMax: ['secretsSize', 'SIZE', 'all secrets of one run'],
  spoolMax: ['spool', 'SIZE', 'output on disk of one run, unless it asks for less'],
  passingSpool: ['passingSpool', 'SIZE', 'the same of each stream of a run that keeps nothing'],
  spoolTotal: ['spoolTotal', 'SIZE', 'output on disk of all runs'],
  spoolPerPrincipal: [
    'spoolPerPrincipal',
    'SIZE',
    'output on disk of one principal that is no owner; at most as much as it leaves to others',
  ],
  logTotal: ['logTotal', 'SIZE', 'lines of the log on disk'],
  keepMs: ['keep', 'TIME', 'how long a result and its output stay, unless the run asks for less'],
  maxEnded: ['results', 'NUMBER', 'finished runs whose results are remembered'],
  maxIds: ['ids', 'NUMBER', 'run ids that are remembered'],
  maxIdsPerPrincipal: [
    'idsPerPrincipal',
    'NUMBER',
    'run ids of one principal that is no owner; at most as many as it leaves to others',
  ],
  maxNotAfterMs: ['notAfter', 'TIME', "how far ahead a run's last moment to start may lie"],
  callerGraceMs: ['callerGrace', 'TIME', 'how long a command of ssh waits for a caller that seems to have ended'],
  killGraceMs: ['killGrace', 'TIME', 'time from SIGTERM to SIGKILL, unless the run says otherwise'],
  stdinWindow: ['stdinWindow', 'SIZE', 'input taken ahead of a command'],
  stdinWindowMax: ['stdinWindowMax', 'SIZE', 'the same for a command that keeps up with a fast caller'],
  stdinTotal: ['stdinTotal', 'SIZE', 'what such windows of all runs hold beyond the first'],
  maxAttachments: ['attachments', 'NUMBER', 'attachments of one run'],
  maxAliases: ['heldRuns', 'NUMBER', 'runs that all callers hold'],
  maxAgents: ['agents', 'NUMBER', 'agents at one keeper'],
  agentBacklog: [
    'agentBacklog',
    'SIZE',
    'bytes that wait for an agent before output is announced instead of sent along',
  ],
  idleExitMs: ['idleExit', 'TIME', 'how long a keeper stays without an agent and without runs; 0: for ever'],
} as const satisfies { readonly [option in keyof KeeperLimits]: Row };

/** Names of options of the agent that are limits. */
export type AgentLimitOption = keyof typeof agent;
export type AgentLimitName = (typeof agent)[AgentLimitOption][0];
export type KeeperLimitName = (typeof keeper)[keyof typeof keeper][0];
export type LimitName = AgentLimitName | KeeperLimitName;

/** One limit. */
export interface LimitEntry {
  readonly name: LimitName;
  /** Who obeys it, and its option there. */
  readonly of: 'agent' | 'keeper';
  readonly option: string;
  readonly unit: LimitUnit;
  readonly about: string;
}

const entries = (of: 'agent' | 'keeper', rows: Readonly<Record<string, Row>>): LimitEntry[] =>
  Object.entries(rows).map(([option, [name, unit, about]]) => ({ name: name as LimitName, of, option, unit, about }));

/** All limits, the agent's first. */
export const ALL_LIMITS: readonly LimitEntry[] = [...entries('agent', agent), ...entries('keeper', keeper)];

/** The values of one side's options by the names of the limits; those that are not given are left out. */
export function limitsByName(of: 'agent' | 'keeper', values: object): { readonly [name in LimitName]?: number } {
  const given = values as Readonly<Record<string, number | undefined>>;
  return Object.fromEntries(
    ALL_LIMITS.filter((limit) => limit.of === of && given[limit.option] !== undefined).map(({ name, option }) => [
      name,
      given[option],
    ]),
  );
}
