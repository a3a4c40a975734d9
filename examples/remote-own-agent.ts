// Your own agent in a temporary folder, and a command on it: nothing is installed, nothing is left behind.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, resolveHome } from 'sendall';
import { openAgent } from 'sendall/agent';

const folder = await mkdtemp(join(tmpdir(), 'sendall-'));
const home = resolveHome({ SENDALL_HOME: folder });
const agent = await openAgent({ home, keeperIdleExit: 1000 });
const host = await connect('local', { home });

const result = await host.run(['uname', '-s']);
console.log(`${result.stdout.trim()}, code ${result.code}, ${result.finals.stdout} bytes`);

// Words reach the program unchanged; no shell reads them.
const name = 'a b; $(touch /tmp/no) "c"';
console.log((await host.$`printf %s ${name}`).stdout);

await host.close();
await agent.close();
await rm(folder, { recursive: true, maxRetries: 20, retryDelay: 200 });
