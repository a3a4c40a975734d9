import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, openAgent, resolveHome, type Agent, type Home, type Host } from 'sendall';
import { removeHome } from '../remove-home.js';

/** An agent with a keeper of its own in a temporary home, and a host connected to it. */
export interface OwnAgent extends AsyncDisposable {
  readonly home: Home;
  readonly agent: Agent;
  readonly host: Host;
}

export async function ownAgent(): Promise<OwnAgent> {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-api-'));
  const home = resolveHome({ SENDALL_HOME: folder });
  const agent = await openAgent({ home, keeperIdleExit: 200 });
  const host = await connect('local', { home });
  return {
    home,
    agent,
    host,
    async [Symbol.asyncDispose]() {
      await host.close();
      await agent.close();
      await removeHome(folder);
    },
  };
}
