/** Runs a command in the shell and yields its output as one stream. */
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Runs the command in the shell, like the tutorial's `subprocess.Popen(cmd, shell=True)`, and writes stdout and stderr
 * into one pipe, in the order they were written. The tutorial had two pipes and read stderr to its end first: a command
 * that filled the other pipe (64 KiB) waited forever, and stdout was lost whenever stderr had a byte. `cat` provides a
 * pipe that commands can open as /dev/stderr; Node gives a child a socket. The mark behind the output has come through
 * the same pipe: then all of the output has, however late `cat` runs.
 */
const SCRIPT = '{ /bin/sh -c "$1" 2>&1; printf %s "$2"; } | cat';

/** Milliseconds to wait for more when the command has ended but a background child still holds the pipe. */
const LINGER_MS = 1000;

/**
 * The output of a command, as it arrives, without reading ahead of the consumer. Stdin is empty. Ends with the command;
 * a child left in the background delays the end only briefly.
 *
 * @param signal kills the command and every process it started; the output then ends
 */
export async function* runShell(command: string, signal?: AbortSignal): AsyncGenerator<Buffer, void, void> {
  const mark = Buffer.from(randomUUID());
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'sh', command, mark.toString()], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached: true, // a group of its own, so that all of it can be ended
  });
  await once(child, 'spawn');
  const kill = () => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // gone already
    }
  };
  signal?.addEventListener('abort', kill, { once: true });
  if (signal?.aborted) kill();
  const output = child.stdout;
  const chunks = output[Symbol.asyncIterator]() as AsyncIterator<Buffer, void>;
  let ended = false;
  /** Bytes that may be the beginning of the mark. */
  let held: Buffer = Buffer.alloc(0);
  try {
    for (;;) {
      const next = await (ended ? nextWithin(LINGER_MS, chunks) : chunks.next());
      if (!next || next.done) break;
      const bytes = Buffer.concat([held, next.value]);
      const at: number = ended ? -1 : bytes.indexOf(mark);
      const end: number = at < 0 && !ended ? bytes.length - begun(bytes, mark) : bytes.length;
      held = bytes.subarray(end);
      const shown = at < 0 ? bytes.subarray(0, end) : without(bytes, at, mark.length);
      ended ||= at >= 0;
      if (shown.length > 0) yield shown;
    }
    if (held.length > 0) yield held;
  } finally {
    signal?.removeEventListener('abort', kill);
    if (!ended) kill(); // the reader has stopped
    output.destroy();
  }
}

/** The next chunk, or nothing if none comes in this time. */
async function nextWithin(ms: number, chunks: AsyncIterator<Buffer, void>) {
  const over = new AbortController();
  const lingered = sleep(ms, undefined, { signal: over.signal }).catch(() => {});
  const next = await Promise.race([chunks.next(), lingered]);
  over.abort();
  return next;
}

/** How many of the last bytes are the first of the mark. */
function begun(bytes: Buffer, mark: Buffer): number {
  let length = Math.min(bytes.length, mark.length - 1);
  while (length > 0 && !bytes.subarray(bytes.length - length).equals(mark.subarray(0, length))) length--;
  return length;
}

const without = (bytes: Buffer, at: number, length: number): Buffer =>
  Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
