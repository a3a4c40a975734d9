/** Functions of the package's entry points whose code is loaded only when they are called. */
import type { Agent } from './agent/agent.js';
import type { AgentOptions } from './agent/options.js';
import type { AuditHead, AuditVerdict } from './client/audit.js';
import type { Host } from './client/host.js';
import type { Paired, PairOptions } from './client/pair.js';
import type { Home } from './home.js';
import type { Engine } from './keys/engine.js';
import type { EngineStatus } from './link/nats/discover.js';
import type { WarmLinks, WarmLinksOptions } from './link/warm/warm-links.js';
import type { PolicyDocument } from './policy/document.js';
import type { TestFleet, TestHostsOptions } from './testing/test-hosts.js';

/**
 * Starts an agent in this process. The same as in `sendall/agent`, whose code it loads.
 * @throws UsageError for wrong options, for a home that is not safe, and when an agent already runs.
 */
export async function openAgent(options: AgentOptions = {}): Promise<Agent> {
  const door = await import('./agent/index.js');
  return await door.openAgent(options);
}

/**
 * Makes `n` hosts for a test, named test-1 to test-n. The same as in `sendall/testing`, whose code it loads.
 * @throws UsageError for unknown options or faults.
 */
export async function testHosts(n: number, options: TestHostsOptions = {}): Promise<TestFleet> {
  const door = await import('./testing/index.js');
  return await door.testHosts(n, options);
}

/**
 * Pairs with the agent at `url` (tls://HOST:PORT or nats:ID): pins its key under a name here, and our key there. Repeating it with
 * the same code is harmless.
 * @throws UsageError when the address, the name, the code or a configuration file is wrong.
 * @throws UnreachableError when no agent answers there.
 * @throws RefusedError when the code is wrong, used or expired, or the agent does not know it.
 * @throws the signal's reason when the signal was aborted.
 */
export async function pair(home: Home, url: string, options: PairOptions): Promise<Paired> {
  const half = await import('./client/pair.js');
  return await half.pair(home, url, options);
}

/**
 * Verifies a whole log: that of a connected host (its owners may ask for it), or one in a folder. Every line is compared
 * with its hash, the hashes with each other, with the signed checkpoint, and with `heads`.
 * @throws UsageError when there is no log in the folder, or a head is none.
 * @throws SendallError when the host does not give its log.
 */
export async function auditVerify(source: string | Host, heads: readonly AuditHead[] = []): Promise<AuditVerdict> {
  const half = await import('./client/audit.js');
  return await half.auditVerify(source, heads);
}

/**
 * Checks the text of a policy, so that a program can show its rules and test what they allow.
 * @throws UsageError whose `problems` are all mistakes with their lines.
 */
export async function policy(text: string | Uint8Array): Promise<PolicyDocument> {
  const half = await import('./policy/document.js');
  return half.readDocument(text);
}

/**
 * Collects the cards of the hosts behind a broker, for `waitMs` milliseconds.
 * @throws UnreachableError, RefusedError or UsageError when the broker cannot be used.
 */
export async function discover(home: Home, engine: Engine, waitMs: number): Promise<EngineStatus> {
  const [half, { loadIdentity }] = await Promise.all([import('./link/nats/discover.js'), import('./keys/identity.js')]);
  return await half.discover(engine, await loadIdentity(home, { create: true }), waitMs);
}

/**
 * Asks the keeper of `home` to end as soon as it has no command. Resolves to whether it ends now.
 * @throws SendallError when its socket cannot be used.
 */
export async function retireKeeper(home: Home): Promise<boolean> {
  const door = await import('./keeper/door/door.js');
  return await door.retireKeeper(home);
}

/**
 * Starts holding warm links for the user of `home`, in this process.
 * @throws UsageError when another process already does.
 */
export async function openWarmLinks(home: Home, options: WarmLinksOptions = {}): Promise<WarmLinks> {
  const half = await import('./link/warm/warm-links.js');
  return await half.openWarmLinks(home, options);
}
