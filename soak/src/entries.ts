/**
 * npm run soak -- entries [COUNT]: a tree of COUNT files (1,000,000) to the program at the host's end and back. Both sides'
 * memory must not grow with their number. Exits with 1 when it does, or when something is missing.
 */
import { spawn } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { receiveFiles } from '../../packages/sendall/dist/transfer/receiving.js';
import { sendFiles } from '../../packages/sendall/dist/transfer/sending.js';
import type { FileTransfer } from '../../packages/sendall/dist/transfer/stream/events.js';

const PROGRAM = fileURLToPath(new URL('../../packages/sendall/dist/transfer/helper.js', import.meta.url));
/** MiB by which a side may grow after the first tenth. */
const GROWTH = 32;
const IN_A_FOLDER = 1000;
/** Names of one file; file systems have a limit. */
const NAMES = 50_000;

const wanted = Number(process.argv[2] ?? 1_000_000);
const place = mkdtempSync(join(tmpdir(), 'sendall-entries-'));

function fill(top: string): void {
  let content = '';
  for (let i = 0; i < wanted; i++) {
    const path = `${top}/${Math.floor(i / IN_A_FOLDER)}/${i}`;
    if (i % IN_A_FOLDER === 0) mkdirSync(`${top}/${i / IN_A_FOLDER}`, { recursive: true });
    if (i % NAMES === 0) writeFileSync((content = path), `content ${i}`);
    else linkSync(content, path);
  }
}

const memoryOf = (pid: number): number =>
  Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]) / 1024;

async function run(verb: 'put' | 'get', from: string, to: string): Promise<void> {
  const child = spawn(process.execPath, [PROGRAM, verb, verb === 'put' ? to : from], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { SENDALL_ROOTS: 'any' },
  });
  const streams = { input: child.stdout, output: child.stdin };
  const settings = { fsync: 'none' as const, into: false };
  const before = { here: 0, there: 0 };
  const peak = { here: 0, there: 0 };
  let count = 0;
  const onFile = (): void => {
    if (++count % 1000) return;
    const now = { here: memoryOf(process.pid), there: memoryOf(child.pid!) };
    for (const side of ['here', 'there'] as const)
      if (count <= wanted / 10) before[side] = Math.max(before[side], now[side]);
      else peak[side] = Math.max(peak[side], now[side]);
  };
  const began = performance.now();
  const transfer: FileTransfer =
    verb === 'put' ? sendFiles([from], streams, { settings, onFile }) : receiveFiles(to, streams, { settings, onFile });
  const { placed, failed } = await transfer.result;
  const seconds = (performance.now() - began) / 1000;
  const grown = { here: peak.here - before.here, there: peak.there - before.there };
  const result = { name: 'entries', verb, placed, failed, seconds, filesPerSecond: wanted / seconds, before, peak };
  console.log(`result: ${JSON.stringify(result)}`);
  const folders = Math.ceil(wanted / IN_A_FOLDER) + 1;
  if (failed || placed !== wanted + folders || grown.here > GROWTH || grown.there > GROWTH) process.exitCode = 1;
}

try {
  fill(`${place}/from`);
  await run('put', `${place}/from`, `${place}/there`);
  rmSync(`${place}/from`, { recursive: true });
  await run('get', `${place}/there`, `${place}/back`);
} finally {
  rmSync(place, { recursive: true, force: true });
}
