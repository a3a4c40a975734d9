/** A transfer brought to its end, with one host or with many. */
import {
  fleet,
  newRunId,
  resolveHome,
  type FleetTransfer,
  type FleetTransferOptions,
  type Host,
  type HostTransferEvent,
  type Transfer,
  type TransferOptions,
  type TransferSource,
  type TransferTarget,
  type Word,
} from '../../index.js';
import { asRunResult, noteRun, Turn, type Recording } from '../../internal.js';
import { beginRecording } from '../hosts/history.js';
import { reach, shareOf } from '../hosts/reach.js';
import { CODES } from '../leaving/departure.js';
import { watchSignals, type Departure, type Interruptible } from '../leaving/interrupt.js';
import { json, lastWords } from '../show/print.js';
import { showFleetTransferLine, showTransferLine } from '../show/transfer/transfer-line.js';
import { transferSummaryJson, unreachedTransferJson } from '../show/transfer/transfer-json.js';
import { TransferView } from '../show/transfer/transfer-view.js';
import type { Arguments } from '../words/command.js';
import { EXIT } from '../words/exit-codes.js';
import { rolloutFor } from '../words/rollout-options.js';
import { onlyOf } from './only.js';

/** Milliseconds for the host to hear that we leave. */
const LEAVE_WITHIN = 2000;

/** What is to be transferred. */
export interface Errand {
  readonly direction: 'push' | 'pull';
  readonly targets: string;
  readonly sources: TransferSource;
  readonly destination: Word;
  /** The content of one file goes to our stdout instead. */
  readonly toStdout: boolean;
  readonly options: TransferOptions;
  /** The one source, if there is just one. */
  readonly only: string | undefined;
}

const STOPPING = {
  words: 'Ctrl-C again stops the transfer; the same command goes on from there later',
  detaches: false,
};

/** Resolves to the process's exit code. */
export async function transferWithOne(args: Arguments, errand: Errand): Promise<number> {
  rolloutFor(args, 1);
  const { targets, options } = errand;
  const runId = newRunId();
  const turn = new Turn(options.deadline);
  let host: Host;
  let rest: { deadline?: number };
  try {
    host = await reach(targets, args, turn.dialOptions(shareOf(args)));
    rest = turn.runOptions();
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    if (!args.on('json') || code === 'USAGE') throw error;
    const refused = code === 'REFUSED' || code === 'KEY_CHANGED';
    json(unreachedTransferJson({ host: targets, runId }, refused ? 'refused' : 'unreachable', message));
    return refused ? EXIT.refused : EXIT.unreachable;
  }
  let transfer: Transfer | undefined;
  const view = new TransferView(args, false, () => void transfer?.cancel({ reason: 'our reader went away' }));
  const { direction, sources, destination, toStdout } = errand;
  const target: TransferTarget = toStdout ? view.sinks.out : destination;
  const given = { ...options, ...rest, runId };
  transfer =
    direction === 'push'
      ? host.push(sources, destination, given)
      : host.pull(sources as readonly Word[], target, given);
  noteRun(resolveHome(), { runId, host: targets, name: options.name });
  const endLine = showTransferLine(transfer, errand.only, args);
  const watch = watchSignals(transfer, undefined, STOPPING);
  const first = await Promise.race([view.show(ofOne(transfer)), watch.departed]);
  endLine();
  if (first !== undefined) return await depart(transfer, transfer.runId, first);
  watch.off();
  return await view.conclude();
}

/** Resolves to the process's exit code. */
export async function transferWithMany(args: Arguments, errand: Errand): Promise<number> {
  const begunAt = performance.now();
  const { direction, targets, sources, destination, options } = errand;
  const named = fleet(targets, shareOf(args));
  const hosts = args.on('only') ? fleet(onlyOf(args, targets, named.set), shareOf(args)) : named;
  const all: FleetTransferOptions = { ...options, ...rolloutFor(args, hosts.set.size) };
  const transfer =
    direction === 'push'
      ? hosts.push(sources, destination, all)
      : hosts.pull(sources as readonly Word[], destination, all);
  const words = Array.isArray(sources) ? sources.length + 1 : 2;
  const recording = beginRecording(args, transfer, {
    hosts: hosts.set,
    name: options.name,
    program: direction,
    words,
  });
  const view = new TransferView(args, true, () => void transfer.cancel({ reason: 'our reader went away' }));
  const endLine = showFleetTransferLine(transfer, args);
  const watch = watchSignals(transfer, undefined, STOPPING);
  const first = await Promise.race([view.show(recorded(transfer, recording)), watch.departed]);
  endLine();
  if (first !== undefined) {
    recording.leave();
    const code = await depart(transfer, transfer.runId, first);
    await recording.close(transfer.notStarted);
    return code;
  }
  watch.off();
  await recording.close(transfer.notStarted);
  if (args.on('json')) await view.line(transferSummaryJson(transfer, view.results, performance.now() - begunAt));
  return await view.conclude(transfer.notStarted.size);
}

async function* recorded(
  transfer: FleetTransfer,
  recording: Recording,
): AsyncGenerator<HostTransferEvent, void, undefined> {
  for await (const event of transfer) {
    if (event.event === 'result') recording.end(asRunResult(event.result));
    yield event;
  }
}

async function* ofOne(transfer: Transfer): AsyncGenerator<HostTransferEvent, void, undefined> {
  for await (const event of transfer) yield { ...event, host: transfer.host, runId: transfer.runId };
}

/** Without us nothing goes on: the host is told, within bounds. Signals are still watched, so that none ends us before. */
async function depart(transfer: Interruptible, runId: string, how: Departure): Promise<number> {
  let timer: NodeJS.Timeout | undefined;
  if (how !== 'abandoned')
    await Promise.race([
      transfer.cancel({ reason: 'the caller left' }),
      new Promise((resolve) => (timer = setTimeout(resolve, LEAVE_WITHIN).unref())),
    ]);
  clearTimeout(timer);
  const words = how === 'hungUp' ? 'hung up' : 'left before the host had confirmed the end';
  await lastWords(2, `sendall: ${words}; the same command goes on from there later (run ${runId})`);
  return CODES[how];
}
