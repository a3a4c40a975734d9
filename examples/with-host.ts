/** Gives an example a host to work on: this machine, through an agent of its own in a temporary folder. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, resolveHome, type Host } from 'sendall';
import { openAgent } from 'sendall/agent';

export async function withHost(work: (host: Host) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'sendall-'));
  const home = resolveHome({ SENDALL_HOME: folder });
  const agent = await openAgent({ home, keeperIdleExit: 1000 });
  const host = await connect('local', { home });
  try {
    await work(host);
  } finally {
    await host.close();
    await agent.close();
    await rm(folder, { recursive: true, maxRetries: 20, retryDelay: 200 });
  }
}
