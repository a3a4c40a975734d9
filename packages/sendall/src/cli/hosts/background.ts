/** Processes of ours that go on when we end, and hold nothing of the process that started us. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { startVariable } from '../../started.js';

const O_CLOEXEC = 0o2000000;

/**
 * Starts `sendall WORDS` in a session of its own. Its stdin and stdout are empty; `stderr` may be read. Descriptors that
 * we were given ourselves are not passed on: a shell that waits for the end of `>(…)` would wait for that process too.
 * A process that cannot be made is told by the child's `error`, or thrown.
 */
export function startInBackground(words: readonly string[], stderr: 'ignore' | 'pipe' = 'ignore'): ChildProcess {
  const nothing = openSync('/dev/null', 'r+');
  const stdio: ('ignore' | 'pipe' | number)[] = ['ignore', 'ignore', stderr];
  for (const fd of inherited()) {
    while (stdio.length < fd) stdio.push('ignore');
    stdio[fd] = nothing;
  }
  const env = { ...process.env, ...startVariable() };
  try {
    const child = spawn(process.execPath, [process.argv[1]!, ...words], { detached: true, cwd: '/', stdio, env });
    child.unref();
    return child;
  } finally {
    closeSync(nothing);
  }
}

/** Open descriptors above stderr that a new program would get: our own ones are closed on exec. */
function inherited(): number[] {
  try {
    return readdirSync('/proc/self/fd')
      .map(Number)
      .filter((fd) => fd > 2 && !isClosedOnExec(fd))
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

function isClosedOnExec(fd: number): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0';
    return (Number.parseInt(flags, 8) & O_CLOEXEC) !== 0;
  } catch {
    // It was the folder's own, and is gone.
    return true;
  }
}
