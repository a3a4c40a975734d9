/** Agents and callers in this process, each with a home of its own, behind a real broker. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { connect, openAgent, pair, resolveHome, type Agent, type AgentOptions, type Home, type Host } from 'sendall';
import { completeEngine, writeEngine, type EngineFiles } from '../../dist/keys/engine.js';
import { natsHostOf } from '../../dist/text/nats-address.js';
import { removeHome } from '../remove-home.js';

/** A home that is removed when the test ends. */
export function newHome(): Home {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-nats-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return resolveHome({ SENDALL_HOME: folder });
}

/** A caller's home with a broker set up. */
export async function newCaller(url: string, files: EngineFiles = {}): Promise<Home> {
  const home = newHome();
  await writeEngine(home, completeEngine({ url, ...files }));
  return home;
}

/** An agent behind the broker, and at a port too, for a whole file of tests. */
export async function openShared(url: string): Promise<Agent> {
  const home = resolveHome({ SENDALL_HOME: mkdtempSync(join(tmpdir(), 'sendall-nats-')) });
  return await openAgent({ home, listen: [url, 'tls://127.0.0.1:0'], name: 'web1', keeperIdleExit: 2000 });
}

/** An agent behind the broker, closed when the test ends. */
export async function newAgent(url: string, options: AgentOptions = {}): Promise<Agent> {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-nats-'));
  const home = options.home ?? resolveHome({ SENDALL_HOME: folder });
  onTestFinished(async () => await removeHome(home.state));
  const agent = await openAgent({ listen: [url], name: 'far', keeperIdleExit: 2000, ...options, home });
  onTestFinished(async () => await agent.close());
  return agent;
}

/** Pairs, and connects. */
export async function newHost(agent: Agent, home: Home, name = 'far'): Promise<Host> {
  await pair(home, natsHostOf(agent.fingerprint), { code: agent.issueCode().code, name });
  const host = await connect(name, { home });
  onTestFinished(async () => await host.close());
  return host;
}
