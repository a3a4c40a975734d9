/** Runs a command by the shell and gives its output as one stream. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Runs the command by the shell, as the tutorial's `subprocess.Popen(cmd, shell=True)` does, and writes everything it
 * says, stdout and stderr in the order in which it was written, into one pipe. The tutorial had two: it read stderr to
 * its end first, so a command that filled the other pipe (64 KiB) waited forever, and stdout was lost whenever stderr
 * had a byte. `cat` makes it a pipe that commands can open as /dev/stderr: what Node gives a child is a socket.
 */
const SCRIPT = '{ /bin/sh -c "$1" 2>&1 3>&-; echo >&3; } | cat 3>&-';

/** How long an answer waits for more when the command has ended but a background child of it still holds the pipe. */
const LINGER_MS = 1000;

/**
 * The output of a command, as it comes; nothing is read ahead of the consumer. Stdin is empty. Ends when the command has
 * ended; a child that it leaves in the background does not hold the answer back for long.
 *
 * @param signal kills the command with everything it started; the output then ends
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
