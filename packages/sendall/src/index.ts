/**
 * # Run this there, and tell me exactly what happened
 *
 * A command on another machine can end in more ways than a local one: the link is lost in the middle, the output is cut
 * off, or the machine restarts, and it is unclear whether the command ran once, twice or not at all. This package is
 * the caller's half of a pair that does know. An *agent* on each machine hands commands to a *keeper*, which owns them
 * and keeps their output on disk; a *run* here is one command there. The run outlives the link: when the link is lost,
 * another one replaces it, and the output continues at the next byte. A result is `ok` only when the command ended with
 * code 0 and every byte of its output arrived.
 *
 * ```text
 *   this program              the machine
 *   Host ── Run ◀──── link ────▶ agent ◀──▶ keeper ◀──▶ /bin/true
 *           Run        │ cut                  │
 *           Run ◀───── next link ────▶ agent  └─ journal, output on disk
 * ```
 *
 * ## The smallest program
 *
 * ```ts
 * import { connect } from 'sendall';
 *
 * await using host = await connect('local');            // or a paired name, tls://HOST:PORT, unix:/path
 * const { stdout } = await host.run(['uname', '-a']);   // these very words: no shell takes them apart
 * ```
 *
 * ## What a run is, in four situations
 *
 * 1. *It succeeds*: awaiting it gives a `Result`, with both streams as text and as bytes.
 * 2. *It fails*: it rejects with a {@link RunError}, which holds the same result and gives the reason in one sentence.
 *    `outcome` tells "exited with 3" from "killed", "timed out" and "refused".
 * 3. *The link is lost*: the program sees only a pause. No byte is repeated and none is missing; only if the host stays
 *    away for `giveUpAfter` does the run end as `lost`, an outcome of its own.
 * 4. *This program leaves*: after `run.detach()` the command goes on, and `host.attach(runId)` finds it again, from
 *    here or from another machine, from any byte that is still kept.
 *
 * ```ts
 * for await (const line of host.run(['journalctl', '-f'])) if (line.includes('ready')) break;   // ends it by SIGPIPE
 * await web1.run(['tar', 'c', '/srv']).pipe(web2.run(['tar', 'x', '-C', '/']));                 // from host to host
 * ```
 *
 * ## Many machines
 *
 * A {@link fleet} runs the same command on many hosts, a limited number at a time, and stops when too many fail. Read its
 * answer as events, as results, or gathered: hosts with equal results form one group ({@link NodeSet} writes their names
 * as `web[01-20]`).
 *
 * ```ts
 * const run = fleet('web[01-20]').run(['systemctl', 'is-active', 'nginx'], { window: 8, maxFail: '10%' });
 * for (const { hosts, stdout } of await run.gather()) console.log(`${hosts}: ${stdout}`);
 * ```
 *
 * ## Entry points
 *
 * `sendall` is the caller's half. `sendall/agent` starts the machine's half inside a program, and `sendall/testing` makes
 * hosts for tests, with links that fail on request. {@link openAgent} and {@link testHosts} are here too and load their
 * half when called. Options are checked before anything starts: a wrong one throws a {@link UsageError} that names it.
 * All errors are {@link SendallError}s with a `code`.
 *
 * @module sendall
 */

export type { AuditHead, AuditVerdict } from './client/audit.js';
export { connect, type ConnectOptions } from './client/connect.js';
export type { DialEvent } from './client/dialling.js';
export type { AttachOptions, Host, HostInfo, RunListing, RunTag } from './client/host.js';
export { AllHosts, type ListedHost } from './client/inventories/all-hosts.js';
export type { InventoryOptions } from './client/inventories/limits.js';
export type { Inventory, InventoryHost, ResolvedHost } from './client/inventory.js';
export { KnownHosts, type HostInstallation, type KnownHost } from './client/known-hosts.js';
export type { CommandLimits } from './client/options/limits.js';
export { newRunId, type RunOptions, type Word } from './client/options/options.js';
export { secret, type Secret } from './client/options/secret.js';
export type { Retry } from './client/options/retry.js';
export type { OutputTarget } from './client/options/output-target.js';
export type { Argument } from './client/options/template.js';
export type { Verbose, VerboseEvent } from './client/options/verbose.js';
export type { Paired, PairOptions } from './client/pair.js';
export { RunError, type Gap, type Outcome, type Result, type Survivor } from './client/result/result.js';
export type { TerminalEcho } from './client/run/attachment.js';
export type { KillReport, Run, RunState } from './client/run/run.js';
export type { RunEvent } from './client/streams/events.js';
export type { OutputRecord } from './client/streams/exact-records.js';
export type { TransferOptions, TransferSource, TransferTarget } from './client/transfer/options.js';
export {
  TransferError,
  type TransferEvent,
  type TransferFile,
  type TransferProblem,
  type TransferProgress,
  type TransferResult,
} from './client/transfer/result.js';
export type { Transfer } from './client/transfer/transfer.js';
export type { LineOptions } from './client/streams/lines.js';
export type { StreamName } from './client/streams/output.js';
export { ProtocolError, RefusedError, SendallError, UnreachableError, UsageError } from './errors.js';
export {
  fleet,
  type Fleet,
  type FleetResult,
  type FleetRun,
  type FleetRunOptions,
  type HostEvent,
} from './fleet/fleet.js';
export type {
  FleetTransfer,
  FleetTransferOptions,
  FleetTransferProgress,
  FleetTransferResult,
  HostTransferEvent,
} from './fleet/fleet-transfer.js';
export type { Group, OutputDiff } from './fleet/gather.js';
export { NodeSet, type NodeSetOptions } from './sets/node-set.js';
export type { Progress } from './fleet/progress.js';
export type { RolloutOptions, RolloutPlan, Share } from './fleet/rollout.js';
export type { HostState, HostStateEvent, HostStatus, OwnEnd, StateCounts } from './fleet/states.js';
export { resolveHome, type Home } from './home.js';
export { auditVerify, openAgent, pair, policy, testHosts } from './on-demand.js';
export type { PolicyDocument, PolicyRequest, PolicyVerdict } from './policy/document.js';
export type { RuleText } from './policy/rule-text.js';
export type { Near } from './policy/request.js';
export type { Verb } from './policy/rules.js';
export type { Problem, ProblemKind } from './log/verification.js';
export type { Agent } from './agent/agent.js';
export type { AgentOptions } from './agent/options.js';
export type { KeeperLimits } from './keeper/door/limits.js';
export type { IssuedCode } from './agent/callers/pairing.js';
export type { AgentStatus } from './agent/status.js';
export type { TestFleet, TestHostsOptions } from './testing/test-hosts.js';
export type { FaultPlan } from './testing/network/faults.js';
export { readDuration, type Duration } from './text/duration.js';
