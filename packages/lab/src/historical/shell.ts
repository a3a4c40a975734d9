/** Runs a command in the shell and yields its output as one stream. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Runs the command in the shell, like the tutorial's `subprocess.Popen(cmd, shell=True)`, and writes stdout and stderr
 * into one pipe, in the order they were written. The tutorial had two pipes and read stderr to its end first: a command
 * that filled the other pipe (64 KiB) waited forever, and stdout was lost whenever stderr had a byte. `cat` provides a
 * pipe that commands can open as /dev/stderr; Node gives a child a socket.
 */
const SCRIPT = '{ /bin/sh -c "$1" 2>&1 3>&-; echo >&3; } | cat 3>&-';

/** Milliseconds to wait for more when the command has ended but a background child still holds the pipe. */
const LINGER_MS = 1000;

/**
 * The output of a command, as it arrives, without reading ahead of the consumer. Stdin is empty. Ends with the command;
 * a child left in the background delays the end only briefly.
 *
 * @param signal kills the command and every process it started; the output then ends
 */
export async function* runShell(command: string, signal?: AbortSignal): AsyncGenerator<Buffer, void, void> {
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'sh', command], {
    stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
    detached: true, // a group of its own, so that all of it can be ended
  });
  await once(child, 'spawn');
  let ended = false;
  const end = new Promise<void>((resolve) => {
    child.stdio[3]!.once('data', resolve).once('close', resolve).once('error', resolve);
  }).then(() => {
    ended = true;
  });
  const kill = () => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // gone already
    }
  };
  signal?.addEventListener('abort', kill, { once: true });
  if (signal?.aborted) kill();
  const output = child.stdout!;
  const chunks = output[Symbol.asyncIterator]() as AsyncIterator<Buffer, void>;
  try {
    for (;;) {
      const quiet = new AbortController();
      const lingered = end.then(() => sleep(LINGER_MS, undefined, { signal: quiet.signal })).catch(() => {});
      const next = await Promise.race([chunks.next(), lingered]);
      quiet.abort();
      if (!next || next.done) return;
      yield next.value;
    }
  } finally {
    signal?.removeEventListener('abort', kill);
    if (!ended) kill(); // the reader has stopped
    output.destroy();
  }
}
