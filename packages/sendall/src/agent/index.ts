/**
 * # sendall/agent: the machine's half
 *
 * An agent listens, knows who may call, and passes commands to the keeper, a process of its own that outlives it.
 * `sendall agent` is this in a program of its own; {@link openAgent} is for a program that brings its agent along:
 *
 * ```ts
 * import { openAgent, resolveHome } from 'sendall/agent';
 *
 * const home = resolveHome({ SENDALL_HOME: '/var/lib/my-program/sendall' });
 * await using agent = await openAgent({ home, listen: ['tls://0.0.0.0:7433'] });
 * console.log(agent.listening, agent.issueCode().code);
 * await agent.stopped;
 * ```
 *
 * Callers use the door `sendall`. Its `openAgent` is this one, loaded when it is called.
 *
 * @module sendall/agent
 */
export { openAgent, type Agent } from './agent.js';
export type { AgentOptions } from './options.js';
export type { KeeperLimits } from '../keeper/door/limits.js';
export type { AgentStatus } from './status.js';
export { Callers, type Caller, type Rights } from './callers/callers.js';
export type { IssuedCode } from './callers/pairing.js';
export { ProtocolError, RefusedError, SendallError, UnreachableError, UsageError } from '../errors.js';
export { resolveHome, type Home } from '../home.js';
export type { Duration } from '../text/duration.js';
