/** One line on a terminal about a command whose host has no room for what it writes: nobody would know why it is silent. */
import type { Host, Run } from '../index.js';
import type { Arguments } from './command.js';
import { clearStatus, hasStatusLine, showStatus } from './status-line.js';

/** Milliseconds of silence after which the host is asked, and while it has no room, how often. */
const PATIENCE = 1000;
/** A command may be silent for good reasons: then the pauses grow up to this. */
const LONGEST_PAUSE = 10_000;

/** Shows it from now on, until the run has its result. */
export function showWaiting(host: Host, run: Run, args: Arguments): void {
  if (!hasStatusLine() || args.on('quiet')) return;
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  let pause = PATIENCE;
  let seen = -1;
  /** Since when the host has had no room. */
  let since: number | undefined;
  const look = async () => {
    const { stdout, stderr } = run.offsets;
    const silent = stdout + stderr === seen;
    seen = stdout + stderr;
    // Without a link there is another line.
    const waits = silent ? await waitsForRoom(host, run).catch(() => undefined) : undefined;
    if (over) return;
    if (waits) {
      since ??= performance.now() - PATIENCE;
      showStatus(`${waits}… ${Math.round((performance.now() - since) / 1000)}s`);
    } else if (since !== undefined) {
      since = undefined;
      clearStatus();
    }
    pause = silent && !waits ? Math.min(pause * 2, LONGEST_PAUSE) : PATIENCE;
    wait();
  };
  const wait = () => {
    timer = setTimeout(() => void look(), pause).unref();
  };
  wait();
  const stop = () => {
    over = true;
    clearTimeout(timer);
    if (since !== undefined) clearStatus();
  };
  run.then(stop, stop);
}

/** A sentence, when it does. */
async function waitsForRoom(host: Host, { runId }: Run): Promise<string | undefined> {
  for await (const listing of host.runs()) {
    if (listing.runId !== runId || listing.blocked !== 'disk') continue;
    const what = listing.cause ? 'the last output of the ended command' : 'the command';
    return `sendall: the disk of ${host.id} is full: ${what} waits for room`;
  }
  return undefined;
}
