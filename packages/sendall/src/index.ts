/** sendall's TypeScript API. */
export { Agent, openAgent, type AgentOptions, type AgentStatus } from './agent/agent.js';
export { Callers, type Caller } from './agent/callers.js';
export type { TerminalEcho } from './client/attachment.js';
export { connect, type ConnectOptions, type DialEvent } from './client/connect.js';
export type { OutputRecord } from './client/exact-records.js';
export { Host, type AttachOptions, type HostInfo, type RunListing, type RunTag } from './client/host.js';
export { KnownHosts, type KnownHost } from './client/known-hosts.js';
export type { LineOptions } from './client/lines.js';
export { newRunId, type RunOptions, type Word } from './client/options.js';
export { pair } from './client/pair.js';
export { RunError, type Gap, type Outcome, type Result, type Survivor } from './client/result.js';
export type { RunEvent } from './client/events.js';
export type { StreamName } from './client/output.js';
export { Run, type KillReport, type RunState } from './client/run.js';
export type { Retry } from './client/retry.js';
export type { Target } from './client/target.js';
export type { Verbose, VerboseEvent } from './client/verbose.js';
export type { Argument } from './client/template.js';
export { readDuration, type Duration } from './link/duration.js';
export { askRelay } from './link/relay-client.js';
export { openRelay, type RelayOptions, type RelayStatus } from './link/relay.js';
export {
  fleet,
  Fleet,
  FleetRun,
  type FleetResult,
  type FleetRunOptions,
  type HostEvent,
  type Progress,
} from './fleet/fleet.js';
export { Gatherer, type Group, type OutputDiff } from './fleet/gather.js';
export { NodeSet, type NodeSetOptions } from './fleet/node-set.js';
export type { RolloutOptions, Share } from './fleet/rollout.js';
export { resolveTargets } from './fleet/targets.js';
export { ScreenModes } from './protocol/screen-modes.js';
export { signalNumber } from './protocol/signals.js';
export { ProtocolError, RefusedError, SendallError, UnreachableError, UsageError } from './errors.js';
export { resolveHome, type Home } from './home.js';
export type { FaultPlan } from './testing/faults.js';
export { TestFleet, testHosts, type TestHostsOptions } from './testing/test-hosts.js';
