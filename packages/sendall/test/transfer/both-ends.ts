/** Both ends of a transfer in this process, or with the far end in a process of its own. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { FileEvent, TransferResult } from '../../dist/transfer/stream/events.js';
import { receiveFiles } from '../../dist/transfer/receiving.js';
import { sendFiles, type SendOptions } from '../../dist/transfer/sending.js';
import type { TransferSettings } from '../../dist/transfer/stream/settings.js';
import type { TransferOptions } from '../../dist/transfer/stream/options.js';
import type { Source } from '../../dist/transfer/source/walk.js';
import { within } from '../../../../test/support/waits.js';

/** The program at the host's end. */
export const HELPER = fileURLToPath(new URL('../../dist/transfer/helper.js', import.meta.url));

/** A folder that is removed after the test. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'sendall-transfer-'));
  onTestFinished(() => {
    spawnSync('chmod', ['-R', 'u+rwx', path]);
    rmSync(path, { recursive: true, force: true });
  });
  return path;
}

/** Two streams that lead to each other. */
export function streamPair(): [Pair, Pair] {
  const [there, back] = [new PassThrough(), new PassThrough()];
  return [
    { input: back, output: there },
    { input: there, output: back },
  ];
}
export interface Pair {
  input: Readable;
  output: Writable;
}

export interface Outcome {
  sent: TransferResult;
  received: TransferResult;
  /** Where both ends say that the sources landed. */
  into: boolean | undefined;
  /** Events of the sender and of the receiver, as "state path". */
  sentEvents: string[];
  events: string[];
  details: FileEvent[];
}

const shown = ({ state, path }: FileEvent): string => `${state} ${path.toString('latin1')}`;

/** A whole transfer with the settings at the sender, and what both ends said of it. */
export async function transfer(
  sources: readonly Source[],
  destination: string | Uint8Array | Writable,
  settings: TransferSettings = {},
  more: { send?: SendOptions; receive?: TransferOptions } = {},
): Promise<Outcome> {
  const [near, far] = streamPair();
  const [sentEvents, events]: [string[], string[]] = [[], []];
  const details: FileEvent[] = [];
  const sending = sendFiles(sources, near, {
    settings,
    onFile: (event) => void sentEvents.push(shown(event)),
    ...more.send,
  });
  const onFile = (event: FileEvent): void => {
    events.push(shown(event));
    details.push(event);
  };
  const receiving = receiveFiles(destination, far, { onFile, ...more.receive });
  const [sent, received] = await within(Promise.all([sending.result, receiving.result]), 'the end of the transfer');
  if (sending.into !== receiving.into) throw new Error('both ends differ on where sources land');
  return { sent, received, into: sending.into, sentEvents: sentEvents.toSorted(), events: events.toSorted(), details };
}

/** The program at the host's end, over pipes. `through`: words before it, such as those of another program. */
export function startHelper(
  verb: 'put' | 'get',
  operands: readonly string[],
  { env = { SENDALL_ROOTS: 'any' }, through = [] }: { env?: NodeJS.ProcessEnv; through?: readonly string[] } = {},
): {
  child: ChildProcess;
  streams: Pair;
  exited: Promise<{ code: number | null; stderr: string }>;
} {
  const [program, ...words] = [...through, process.execPath, HELPER, verb, ...operands];
  const child = spawn(program!, words, { stdio: 'pipe', env: { PATH: process.env.PATH, ...env } });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const exited = new Promise<{ code: number | null; stderr: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, stderr })),
  );
  onTestFinished(() => void child.kill('SIGKILL'));
  return { child, streams: { input: child.stdout, output: child.stdin }, exited };
}

/** All that a folder has, as text: kinds, permissions, times, contents. */
export function listing(path: string): string[] {
  const lines: string[] = [];
  const look = (at: Buffer, shownPath: string): void => {
    for (const entry of readdirSync(at, { encoding: 'buffer' }).toSorted((a, b) => a.compare(b))) {
      const inner = Buffer.concat([at, Buffer.from('/'), entry]);
      const name = `${shownPath}/${entry.toString('latin1')}`;
      const stat = lstatSync(inner, { bigint: true });
      const mode = (stat.mode & 0o777n).toString(8);
      if (stat.isSymbolicLink()) lines.push(`${name} -> ${readlinkSync(inner, 'latin1')}`);
      else if (stat.isDirectory()) {
        lines.push(`${name}/ ${mode}`);
        look(inner, name);
      } else if (stat.isFile())
        lines.push(
          `${name} ${mode} ${stat.size} ${stat.mtimeNs} ${readFileSync(inner).toString('latin1').slice(0, 100)}`,
        );
      else lines.push(`${name} special`);
    }
  };
  look(Buffer.from(path), '');
  return lines;
}
