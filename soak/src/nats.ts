/**
 * npm run soak -- nats [COUNT] [SEED] [--per-mille N]: COUNT commands (10000) through a broker that loses, repeats, delays,
 * swaps, changes and replays N of 1000 messages (10), every byte and code checked and every start counted. Exits with 1 on
 * the first fault.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { connect, openAgent, pair, resolveHome } from 'sendall';
import { completeEngine, writeEngine } from '../../packages/sendall/dist/keys/engine.js';
import { natsHostOf } from '../../packages/sendall/dist/text/nats-address.js';
import { exactStarts } from '../../packages/sendall/test/dist/exact-starts.js';
import { hostileBroker } from '../../packages/sendall/test/dist/hostile-broker.js';
import { natsServer } from '../../packages/sendall/test/dist/nats-server.js';

/** Connections to the host, each with runs of its own. */
const LINKS = 3;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'per-mille': { type: 'string', default: '10' } },
});
const [runs, seed] = [Number(positionals[0] ?? 10_000), Number(positionals[1] ?? Date.now() % 1e6)];
const folders = ['far', 'near'].map((name) => mkdtempSync(join(tmpdir(), `sendall-soak-${name}-`)));
const [far, near] = folders.map((folder) => resolveHome({ SENDALL_HOME: folder })) as [
  ReturnType<typeof resolveHome>,
  ReturnType<typeof resolveHome>,
];
const began = performance.now();
const server = await natsServer();
const broker = await hostileBroker({ port: server.port, seed, perMille: 0 });
const agent = await openAgent({ home: far, listen: [broker.url], keeperIdleExit: 1000 });
await writeEngine(near, completeEngine({ url: broker.url }));
await pair(near, natsHostOf(agent.fingerprint), { code: agent.issueCode().code, name: 'far' });
const options = { home: near, timeout: 3000, longestPause: 500, giveUpAfter: 3_600_000 };
const hosts = await Promise.all(Array.from({ length: LINKS }, () => connect('far', options)));
broker.perMille = Number(values['per-mille']);
const report = await exactStarts(hosts, {
  seed,
  runs,
  onRun: (done) => {
    if (done % 1000 === 0) console.log(`${done} commands, faults: ${JSON.stringify(broker.made)}`);
  },
});
broker.perMille = 0;
for (const host of hosts) await host.close();
await agent.close();
await broker.close();
await server[Symbol.asyncDispose]();
for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
for (const each of report.wrong) console.error(`WRONG: ${each}`);
const faults = Object.values(broker.made).reduce((sum, count) => sum + count, 0);
const seconds = Math.round((performance.now() - began) / 1000);
console.log(
  `result: ${JSON.stringify({ name: 'nats', seed, commands: report.runs, unreachable: runs - report.runs, bytes: report.bytes, faults, wrong: report.wrong.length, seconds })}`,
);
if (report.wrong.length) console.error(`repeat it with: npm run soak -- nats ${runs} ${seed}`);
process.exit(report.wrong.length ? 1 : 0);
