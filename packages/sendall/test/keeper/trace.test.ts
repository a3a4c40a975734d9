import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';
import { readJournal } from '../../dist/keeper/journal/reading.js';
import { formatRunId, newRunId } from '../../dist/protocol/run-id.js';
import { KeeperClient } from './keeper-client.js';

const CALLS = 'pwrite64,fdatasync,clone,clone3,vfork,execve';

/** One system call in a trace: its first and last line numbers. */
interface Call {
  readonly pid: string;
  readonly name: string;
  readonly begun: number;
  over: number;
  text: string;
}

/** Parses `strace -f`, where calls of several threads overlap. */
function callsOf(trace: string): Call[] {
  const calls: Call[] = [];
  const open = new Map<string, Call>();
  for (const [at, line] of trace.split('\n').entries()) {
    const [, pid, rest] = /^(\d+) +(.*)$/.exec(line) ?? [];
    if (!pid || !rest) continue;
    const resumed = /^<\.\.\. \w+ resumed>(.*)/.exec(rest);
    if (resumed) {
      const call = open.get(pid);
      if (!call) continue;
      open.delete(pid);
      call.over = at;
      call.text += resumed[1];
      continue;
    }
    const name = /^(\w+)\(/.exec(rest)?.[1];
    if (!name) continue;
    const call = { pid, name, begun: at, over: at, text: rest };
    calls.push(call);
    if (!rest.endsWith('<unfinished ...>')) continue;
    call.over = Infinity;
    open.set(pid, call);
  }
  return calls;
}

/** The bytes of the strings in a call, from the output of `strace -xx`. */
const bytesIn = ({ text }: Call): Buffer =>
  Buffer.from([...text.matchAll(/\\x([0-9a-f]{2})/g)].map(([, hex]) => hex).join(''), 'hex');

/** Traces a keeper while `act` runs. */
async function traced(pid: number, act: () => Promise<void>): Promise<Call[]> {
  const folder = mkdtempSync(join(tmpdir(), 'trace-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'trace');
  const strace = spawn(
    'strace',
    ['-f', '-xx', '-v', '-s', '1000000', '-e', `trace=${CALLS}`, '-o', file, '-p', `${pid}`],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  await once(createInterface(strace.stderr), 'line');
  await act();
  const gone = once(strace, 'exit');
  strace.kill('SIGINT');
  await gone;
  return callsOf(readFileSync(file, 'latin1'));
}

test('the kernel saw the sync of its intent return before each command was started', async () => {
  await using keeper = await KeeperClient.start();
  const ids = Array.from({ length: 60 }, () => newRunId());
  const calls = await traced(keeper.link.pid, async () => {
    // Some alone, some in groups: a group shares its syncs.
    for (const [from, to] of [
      [0, 1],
      [1, 2],
      [2, 30],
      [30, 60],
    ] as const) {
      const runs = ids.slice(from, to).map((runId) => keeper.open({ argv: [Buffer.from('true')] }, { runId }));
      for (const run of runs) await run.exit;
    }
  });
  const intents = calls
    .filter(({ name }) => name === 'pwrite64')
    .map((call) => ({
      call,
      of: readJournal(bytesIn(call)).entries.flatMap((each) =>
        each.kind === 'intent' ? [formatRunId(each.runId)] : [],
      ),
    }));
  const syncs = calls.filter(({ name, text }) => name === 'fdatasync' && text.endsWith(' = 0'));
  expect(syncs.length).toBeLessThanOrEqual(ids.length);
  for (const runId of ids) {
    const intent = intents.find(({ of }) => of.includes(formatRunId(runId)))?.call;
    const start = calls.find((call) => call.name === 'execve' && bytesIn(call).includes(formatRunId(runId)))!;
    if (!intent) throw new Error('the intent was not written');
    expect(start, 'the command was started').toBeDefined();
    // The child's first call follows the clone that made it: the last one the keeper had begun by then.
    const clone = calls.findLast(({ name, begun }) => begun < start.begun && /^(clone3?|vfork)$/.test(name))!;
    const sync = syncs.find(({ begun }) => begun > intent.over)!;
    expect(sync, 'it was synced after it was written').toBeDefined();
    expect(sync.over).toBeLessThan(clone.begun);
  }
});
