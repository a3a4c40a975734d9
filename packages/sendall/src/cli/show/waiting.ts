/**
 * Shows one line on a terminal about a command that is silent because its host has no room for output or does not
 * answer; otherwise the user would not know why.
 */
import type { Host, Run } from '../../index.js';
import type { Arguments } from '../words/command.js';
import { clearStatus, hasStatusLine, showStatus } from './status-line.js';

/** Milliseconds of silence before asking the host, and between questions while something is wrong. */
const PATIENCE = 1000;
/** A command may be silent for good reasons: then the pauses grow up to this. */
const LONGEST_PAUSE = 10_000;

/**
 * Shows the line when needed, until the run has its result. Call the returned function when the user has sent input.
 */
export function showWaiting(host: Host, run: Run, args: Arguments): () => void {
  if (!hasStatusLine() || args.on('quiet')) return () => undefined;
  const watch = new Watch(host, run);
  const end = () => watch.end();
  run.then(end, end);
  return () => watch.soon();
}

class Watch {
  readonly #host: Host;
  readonly #run: Run;
  #timer: NodeJS.Timeout | undefined;
  #pause = PATIENCE;
  #seen = -1;
  #over = false;
  /** When the problem began; undefined while no line is shown. */
  #since: number | undefined;

  constructor(host: Host, run: Run) {
    this.#host = host;
    this.#run = run;
    this.#wait();
  }

  end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#hide();
  }

  /** The user expects a response, so look again soon. */
  soon(): void {
    if (this.#pause === PATIENCE || this.#over) return;
    this.#pause = PATIENCE;
    this.#wait();
  }

  #wait(): void {
    // Keys may have asked for a look while another one was under way: one chain of looks goes on.
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#look(), this.#pause).unref();
  }

  async #look(): Promise<void> {
    const { stdout, stderr } = this.#run.offsets;
    const silent = stdout + stderr === this.#seen;
    this.#seen = stdout + stderr;
    const words = silent ? await this.#ask() : undefined;
    if (this.#over) return;
    if (words === undefined) this.#hide();
    else this.#show(words);
    this.#pause = silent && words === undefined ? Math.min(this.#pause * 2, LONGEST_PAUSE) : PATIENCE;
    this.#wait();
  }

  /** The problem, if any. While the host takes its time to answer, the line says so. */
  async #ask(): Promise<string | undefined> {
    const late = setInterval(() => this.#show(`no answer from ${this.#host.id}`), PATIENCE).unref();
    try {
      return await whatItWaitsFor(this.#host, this.#run);
    } catch {
      // Without a link, progress.ts shows a line.
      return undefined;
    } finally {
      clearInterval(late);
    }
  }

  #show(words: string): void {
    if (this.#over) return;
    this.#since ??= performance.now() - PATIENCE;
    showStatus(`sendall: ${words}… ${Math.round((performance.now() - this.#since) / 1000)}s`);
  }

  #hide(): void {
    if (this.#since !== undefined) clearStatus();
    this.#since = undefined;
  }
}

async function whatItWaitsFor(host: Host, { runId }: Run): Promise<string | undefined> {
  for await (const listing of host.runs()) {
    if (listing.runId !== runId || listing.blocked !== 'disk') continue;
    const what = listing.cause ? 'the last output of the ended command' : 'the command';
    return `the disk of ${host.id} is full: ${what} waits for room`;
  }
  return undefined;
}
