/**
 * npm run soak -- keeper [--trials 10000] [--only crashes,kills,agents] [--seed N]
 *
 * crashes  the keeper dies by SIGKILL at every step of its journal; each command makes a folder, so that starts can be
 *          counted: no id may start twice, and every report must be true
 * kills    children that try to escape (setsid, double fork, nohup, deaf, stopped, fork storm, env -i setsid), with a
 *          cgroup and without: with one there may be no survivor, without one no unreported survivor
 * agents   agents die by SIGKILL under load: every run ends with its right code and its whole output
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { crc32 } from 'node:zlib';
import { Client } from '../../bench/dist/keeper/client.js';
import { spoolFolder, SpoolReader } from '../../packages/sendall/dist/keeper/door/door.js';
import type { Message } from '../../packages/sendall/dist/protocol/messages.js';
import { formatRunId, newRunId } from '../../packages/sendall/dist/protocol/run-id.js';

const { values } = parseArgs({
  options: {
    trials: { type: 'string', default: '10000' },
    only: { type: 'string', default: 'crashes,kills,agents' },
    seed: { type: 'string' },
    agent: { type: 'string' },
  },
});
const TRIALS = Number(values.trials);
let seed = Number(values.seed ?? Date.now() % 1_000_000);

/** A small random generator with a seed. */
function random(below: number) {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
  return (seed >>> 8) % below;
}

const bytes = (text: string) => Buffer.from(text);

const faults: string[] = [];
function check(ok: boolean, what: string) {
  if (ok) return;
  faults.push(what);
  console.log(`FAULT ${what}`);
}

const folderFor = (name: string) => mkdtempSync(join(tmpdir(), `soak-${name}-`));

// -- crashes

const POINTS = [
  'before-intent',
  'after-intent',
  'after-sync',
  'after-spawn',
  'after-started',
  'before-exit',
  'after-flush',
];
const AT_ONCE = 8;
/** A machine under load takes long to start a keeper. */
const START_MS = 60_000;

async function crashes() {
  const folder = folderFor('crash');
  let crashed = 0;
  const outcomes: Record<string, number> = {};
  for (let trial = 0; trial < TRIALS; trial += AT_ONCE) {
    // A command whose keeper died may still make its folder.
    const marks = join(folder, `marks-${trial}`);
    mkdirSync(marks);
    const runs: { runId: Uint8Array; notAfterMs: number; final?: string }[] = Array.from({ length: AT_ONCE }, () => ({
      runId: newRunId(),
      notAfterMs: Date.now() + 3_600_000,
    }));
    while (runs.some(({ final }) => final === undefined)) {
      const point = POINTS[random(POINTS.length)];
      // The first flush belongs to the keeper's start: dying there every time would never get further.
      const fault = `${point}:${(point === 'after-flush' ? 2 : 1) + random(4)}`;
      const client = await Client.open(join(folder, 'home'), { env: { SENDALL_FAULT: fault }, timeoutMs: START_MS });
      const finished = runs.map(
        (run) =>
          new Promise((resolve) => {
            const script = `mkdir ${marks}/$SENDALL_RUN || echo again > ${marks}/$SENDALL_RUN.twice; exit 5`;
            client.run(
              { verb: 'sh', script: bytes(script) },
              (message) => {
                if (message.type === 'EXIT') run.final = message.cause ?? `code ${message.code}`;
                else if (message.type === 'ATTACHED' && message.exit)
                  run.final = message.exit.cause ?? `code ${message.exit.code}`;
                else if (message.type === 'REFUSED') run.final = `refused ${message.code}: ${message.message}`;
                if (run.final !== undefined) resolve(undefined);
              },
              run,
            );
          }),
      );
      const died = await Promise.race([client.link.closed.then(() => true), Promise.all(finished).then(() => false)]);
      if (died) crashed++;
      else {
        client.link.send({ type: 'ASK', alias: 0, opId: 1, what: 'drain' });
        await client.link.closed;
      }
    }
    for (const { runId, final } of runs) {
      const id = formatRunId(runId);
      outcomes[final ?? ''] = (outcomes[final ?? ''] ?? 0) + 1;
      check(!existsSync(join(marks, `${id}.twice`)), `${id} started twice`);
      if (final === 'code 5') check(existsSync(join(marks, id)), `${id} is said to have run and did not`);
      else check(final === 'lost', `${id} ended as ${final}`);
    }
  }
  rmSync(folder, { recursive: true, force: true });
  console.log(`crashes: ${TRIALS} commands, ${crashed} keepers killed, ${JSON.stringify(outcomes)}`);
}

// -- kills

const ECHO = 'echo \\$\\$; exec sleep 600';
const CHILDREN = [
  `sh -c "${ECHO}" &`,
  `setsid sh -c "${ECHO}" &`,
  `(setsid sh -c "${ECHO}" & exit) &`,
  `nohup sh -c "${ECHO}" 2> /dev/null &`,
  'sh -c "trap \\"\\" TERM HUP INT; echo \\$\\$; while :; do sleep 600; done" &',
  'sh -c "echo \\$\\$; kill -STOP \\$\\$; exec sleep 600" &',
  'env -i setsid /bin/sh -c "echo \\$\\$; exec /bin/sleep 600" &',
  '(env -i setsid /bin/sh -c "echo \\$\\$; exec /bin/sleep 600" & exit)',
];
const STORM = 'storm() { while :; do (setsid sleep 5 &) ; sleep 0.001; done; }; storm & storm &';

function alive(pid: number) {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Processes that have the run's id in their environment. */
function tagged(runId: string) {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/environ`, 'latin1').includes(runId) && alive(Number(name));
    } catch {
      return false;
    }
  });
}

async function kills(cgroups: boolean) {
  const folder = folderFor('kill');
  const client = await Client.open(folder, { cgroups });
  const { proof } = await client.ask('status');
  let storms = 0;
  let survivors = 0;
  for (let trial = 0; trial < TRIALS / 2; trial++) {
    const chosen = CHILDREN.filter(() => random(2) === 0);
    const storm = random(4) === 0;
    if (storm) storms++;
    const script = [...chosen, storm ? STORM : '', 'echo ready', 'wait', 'sleep 600'].join('\n');
    let printed = '';
    const runId = newRunId();
    await new Promise((resolve) => {
      const { alias } = client.run(
        { verb: 'sh', script: bytes(script) },
        (message) => {
          if (message.type === 'DATA' && message.stream === 1) printed += message.bytes;
          const lines = printed.split('\n').length - 1;
          if (lines === chosen.length + 1 && message.type === 'DATA')
            client.link.send({ type: 'CANCEL', alias, opId: trial + 1, graceMs: random(3) * 20 });
          if (message.type !== 'OP_OK') return;
          const reported = message.survivors.map(({ pid }) => pid);
          survivors += reported.length;
          if (proof === 'cgroup') check(reported.length === 0, `trial ${trial}: ${reported.length} survivors`);
          const left = printed
            .split('\n')
            .map(Number)
            .filter((pid) => pid > 0 && alive(pid));
          for (const pid of left) check(reported.includes(pid), `trial ${trial}: ${pid} lives and was not reported`);
          for (const pid of left) process.kill(pid, 'SIGKILL');
          const raging = storm ? tagged(formatRunId(runId)) : [];
          check(
            !raging.length || reported.length > 0,
            `trial ${trial}: the storm lives (${raging.join(' ')}), unreported`,
          );
          for (const pid of raging) process.kill(Number(pid), 'SIGKILL');
          client.detach(alias);
          resolve(undefined);
        },
        { runId },
      );
    });
  }
  await client.end();
  rmSync(folder, { recursive: true, force: true });
  console.log(
    `kills (${String(proof)}): ${TRIALS / 2} trees, ${storms} of them storms, ${survivors} survivors, all reported`,
  );
}

// -- agents

/** The end of a run, as reported to a caller. */
type Exit = Pick<Extract<Message, { type: 'EXIT' }>, 'code' | 'upto'>;

const LINES = 400;

/** A process that opens runs until it is killed; prints each id once the keeper has the run. */
async function agent(folder: string) {
  const client = await Client.open(folder);
  let n = 0;
  for (;;) {
    const code = n++ % 200;
    await new Promise((resolve) => {
      const script = `i=0; while [ $i -lt ${LINES} ]; do echo line $i; i=$((i+1)); done; exit ${code}`;
      const { runId } = client.run({ verb: 'sh', script: bytes(script) }, (message) => {
        if (message.type !== 'OPENED') return;
        process.send?.({ id: Buffer.from(runId).toString('hex'), code });
        resolve(undefined);
      });
    });
  }
}

async function agents() {
  const folder = folderFor('agent');
  const client = await Client.open(folder, { limits: { maxEnded: 1_000_000 } });
  const expected = bytes(Array.from({ length: LINES }, (_, i) => `line ${i}\n`).join(''));
  let checked = 0;
  const killed = Math.max(Math.round(TRIALS / 10), 1);
  for (let trial = 0; trial < killed; trial++) {
    const child = fork(fileURLToPath(import.meta.url), ['--agent', folder]);
    const opened: { id: string; code: number }[] = [];
    child.on('message', (message: (typeof opened)[number]) => opened.push(message));
    const enough = 3 + random(10);
    while (opened.length < enough) await once(child, 'message');
    child.kill('SIGKILL');
    await once(child, 'exit');
    for (const { id, code } of opened) {
      const runId = Buffer.from(id, 'hex');
      const exit = await new Promise<Exit | undefined>((resolve) => {
        const alias = client.attach(runId, (message) => {
          const told = message.type === 'EXIT' ? message : message.type === 'ATTACHED' ? message.exit : undefined;
          if (!told && message.type !== 'ATTACH_REFUSED') return;
          client.link.send({ type: 'EXIT_ACK', alias, received: [] });
          client.detach(alias);
          resolve(told);
        });
      });
      check(exit?.code === code, `${id} ended with ${exit?.code}, not ${code}`);
      const reader = new SpoolReader(spoolFolder(client.home, 'bench', runId), 1);
      const output = await reader.read(0, expected.length + 1);
      await reader.close();
      check(output.equals(expected), `${id} has ${output.length} bytes of ${expected.length}`);
      check(exit?.upto[0]?.crc32 === crc32(expected), `${id} has another checksum`);
      checked++;
    }
  }
  await client.end();
  rmSync(folder, { recursive: true, force: true });
  console.log(`agents: ${killed} killed, ${checked} runs whole and with their codes`);
}

if (values.agent !== undefined) await agent(values.agent);
console.log(`seed ${seed}`);
const only = values.only.split(',');
if (only.includes('crashes')) await crashes();
if (only.includes('kills')) {
  await kills(true);
  await kills(false);
}
if (only.includes('agents')) await agents();
console.log(faults.length === 0 ? 'no faults' : `${faults.length} faults`);
process.exit(faults.length === 0 ? 0 : 1);
