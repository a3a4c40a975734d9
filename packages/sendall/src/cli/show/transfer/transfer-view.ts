/** Shows a transfer as it happens, with one host or with many: failed files, all files, or JSON events. */
import type { HostTransferEvent, TransferFile, TransferResult } from '../../../index.js';
import type { Arguments } from '../../words/command.js';
import { EXIT, exitCodeOfTransfer } from '../../words/exit-codes.js';
import { count, formatSize } from '../../words/units.js';
import { escapeControl, jsonLine } from '../control-characters.js';
import { speaks } from '../follow.js';
import { reasonOf, say } from '../print.js';
import { formatRate } from '../rate.js';
import { finish, put, standardSinks, type LostOutput, type Sinks } from '../sink.js';
import { transferEventJson } from './transfer-json.js';

/** What `--verbose` says about a file. */
const DONE: Readonly<Record<TransferFile['state'], string>> = {
  placed: 'placed',
  same: 'same',
  failed: 'failed',
  skipped: 'skipped',
  deleted: 'deleted',
};
/** What `--dry-run` says about it. */
const WOULD: typeof DONE = { ...DONE, placed: 'would place', deleted: 'would delete' };

/** What did not travel, for people. */
const LEFT_OUT: Readonly<Record<string, string>> = {
  owner: 'owner',
  xattr: 'extended attributes',
  acl: 'access control list',
  hardLink: 'hard link',
  setuid: 'set-user-id bits',
  time: 'exact time',
};

export class TransferView {
  readonly sinks: Sinks = standardSinks();
  readonly results: TransferResult[] = [];
  readonly #args: Arguments;
  readonly #isMany: boolean;
  #lost: LostOutput | undefined;

  /** `gone`: our reader has left. */
  constructor(args: Arguments, isMany: boolean, gone: () => void) {
    this.#args = args;
    this.#isMany = isMany;
    for (const sink of new Set([this.sinks.out, this.sinks.err]))
      sink.on('error', (error: NodeJS.ErrnoException) => {
        this.#lost ??= { stream: sink === this.sinks.out ? 'stdout' : 'stderr', error };
        gone();
      });
  }

  /** Shows all events, to the end. */
  async show(events: AsyncIterable<HostTransferEvent>): Promise<void> {
    for await (const event of events) {
      // A reader that has gone wants to hear nothing more.
      if (this.#lost?.error.code === 'EPIPE') continue;
      if (event.event === 'result') this.results.push(event.result);
      if (this.#args.on('json')) await this.#json(event);
      else if (event.event === 'file') await this.#file(event);
      else if (event.event === 'retried' && !this.#args.on('quiet'))
        say(`sendall: ${event.host}: ${event.reason}: another run goes on`);
    }
  }

  async #json(event: HostTransferEvent): Promise<void> {
    const { host, runId } = event;
    const { begun: _begun, since: _since, ...rest } = event as typeof event & { begun?: number; since?: number };
    await this.line(event.event === 'host' ? rest : transferEventJson({ host, runId }, event));
  }

  /** One JSON object on stdout. */
  async line(value: object): Promise<void> {
    await put(this.sinks.out, `${jsonLine(value)}\n`);
  }

  async #file({ host, path, state, reason }: TransferFile & { readonly host: string }): Promise<void> {
    const dry = this.#args.on('dry-run');
    const because = reason === undefined ? '' : `: ${reason}`;
    if (state === 'failed' || (state === 'skipped' && !this.#args.on('verbose'))) {
      if (!this.#args.on('quiet')) say(`sendall: ${host}: ${path}${state === 'skipped' ? ' skipped' : ''}${because}`);
      return;
    }
    if (!this.#args.on('verbose') && !(dry && state !== 'same')) return;
    const words = `${(dry ? WOULD : DONE)[state]} ${path}${because}`;
    await put(this.sinks.out, `${escapeControl(this.#isMany ? `${host}: ${words}` : words)}\n`);
  }

  /** Says how it went; returns the process's exit code. */
  async conclude(notStarted = 0): Promise<number> {
    if (!this.#args.on('json') && !this.#args.on('quiet')) for (const result of this.results) this.#explain(result);
    await finish(this.sinks);
    const { stream, error } = this.#lost ?? {};
    if (error?.code === 'EPIPE') return EXIT.brokenPipe;
    if (error) {
      say(`sendall: cannot write to ${stream}: ${reasonOf(error)}`);
      return EXIT.truncated;
    }
    if (notStarted) return EXIT.notStarted;
    const [first] = this.results;
    if (!this.#isMany && first) return exitCodeOfTransfer(first);
    return this.results.every(({ ok }) => ok) ? EXIT.ok : 1;
  }

  #explain(result: TransferResult): void {
    const { host, ok, failed, reason, leftOut } = result;
    // The failed files were named one by one.
    if (!ok && !(result.outcome === 'failed' && failed && !this.#isMany)) say(`sendall: ${host}: ${reason}`);
    const left = Object.entries(leftOut).filter(([what]) => what in LEFT_OUT);
    if (left.length && speaks(this.#args))
      say(
        `sendall: ${host}: left out: ${left.map(([what, n]) => `${LEFT_OUT[what]} (${count(n, 'file')})`).join(', ')}`,
      );
    if (ok && speaks(this.#args) && !this.#isMany) say(summaryOf(result, this.#args.on('dry-run')));
  }
}

/** "web1: 3 files, 1.2 GiB, 2 the same, 412 MB/s". */
function summaryOf({ host, files, bytes, same, deleted, sent, durationMs }: TransferResult, dry: boolean): string {
  return [
    `${host}: ${count(files, 'file')}`,
    formatSize(bytes),
    ...(same ? [`${same} the same`] : []),
    ...(deleted ? [`${deleted} deleted`] : []),
    ...(sent && durationMs && !dry ? [formatRate((sent * 1000) / durationMs)] : []),
    ...(dry ? ['nothing was changed'] : []),
  ].join(', ');
}
