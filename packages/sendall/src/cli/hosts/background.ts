/** Background processes of ours, which outlive us and hold no resources of the process that started us. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { startVariable } from '../../started.js';

const O_CLOEXEC = 0o2000000;

/**
 * Starts `sendall WORDS` in a session of its own. Its stdin and stdout are empty; `stderr` may be read. It does not
 * inherit the descriptors that we inherited: a shell waiting for the end of `>(…)` would wait for it too. If the
 * process cannot be made, this throws or the child emits `error`. `program`: another installation's, with its Node.
 */
export function startInBackground(
  words: readonly string[],
  stderr: 'ignore' | 'pipe' = 'ignore',
  [node, program] = [process.execPath, process.argv[1]!],
): ChildProcess {
  const nothing = openSync('/dev/null', 'r+');
  const stdio: ('ignore' | 'pipe' | number)[] = ['ignore', 'ignore', stderr];
  for (const fd of inherited()) {
    while (stdio.length < fd) stdio.push('ignore');
    stdio[fd] = nothing;
  }
  const env = { ...process.env, ...startVariable() };
  try {
    const child = spawn(node, [program, ...words], { detached: true, cwd: '/', stdio, env });
    child.unref();
    return child;
  } finally {
    closeSync(nothing);
  }
}

/** Descriptors above stderr that a new program would inherit; our own are closed on exec. */
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
    // This descriptor listed the folder and is closed by now.
    return true;
  }
}
