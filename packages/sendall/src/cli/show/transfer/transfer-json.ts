/** Events and results of transfers in the format of --json. */
import type { FleetTransfer, TransferEvent, TransferFile, TransferResult } from '../../../index.js';

interface Named {
  readonly host: string;
  readonly runId: string;
}

/** Any event of a transfer. */
export function transferEventJson({ host, runId }: Named, event: TransferEvent): object {
  if (event.event === 'result') return transferResultJson(event.result);
  if (event.event === 'file') return fileJson(host, event);
  if (event.event === 'retried') return { event: 'retried', host, runId: event.runId, reason: event.reason };
  const { files, bytes, sent, same, failed, totalBytes } = event;
  return {
    event: 'progress',
    host,
    runId,
    files,
    bytes,
    sent,
    same,
    failed,
    ...(totalBytes === undefined ? {} : { totalBytes }),
  };
}

function fileJson(host: string, { path, rawPath, kind, bytes, sha256, state, reason }: TransferFile): object {
  const isText = Buffer.from(path).equals(rawPath);
  return {
    event: 'file',
    host,
    ...(isText ? { path } : { pathBase64: Buffer.from(rawPath).toString('base64') }),
    ...(kind === undefined ? {} : { kind }),
    bytes,
    ...(sha256 === undefined ? {} : { sha256 }),
    state,
    ...(reason === undefined ? {} : { reason }),
  };
}

export function transferResultJson(result: TransferResult): object {
  const { host, runId, outcome, files, bytes, sent, same, failed, deleted, leftOut, retries, durationMs } = result;
  return {
    event: 'result',
    host,
    runId,
    outcome,
    files,
    bytes,
    sent,
    same,
    failed,
    ...(deleted ? { deleted } : {}),
    ...(Object.keys(leftOut).length ? { leftOut } : {}),
    ...(retries ? { retries } : {}),
    durationMs,
    ...(result.refusal === undefined ? {} : { refusal: result.refusal }),
    ...(outcome === 'ok' ? {} : { reason: result.reason }),
  };
}

/** A host we never reached, in the shape of a result. */
export function unreachedTransferJson(
  { host, runId }: Named,
  outcome: 'unreachable' | 'refused',
  reason: string,
): object {
  const none = { files: 0, bytes: 0, sent: 0, same: 0, failed: 0, durationMs: 0 };
  return { event: 'result', host, runId, outcome, ...none, reason };
}

/** The last event of many hosts. */
export function transferSummaryJson(
  { runId, progress, notStarted }: Pick<FleetTransfer, 'runId' | 'progress' | 'notStarted'>,
  results: readonly TransferResult[],
  wallMs: number,
): object {
  const { total, ok, failed, states } = progress;
  const sum = (of: (result: TransferResult) => number) => results.reduce((all, each) => all + of(each), 0);
  return {
    event: 'summary',
    runId,
    total,
    ok,
    failed,
    notStarted: notStarted.toString(),
    states,
    files: sum(({ files }) => files),
    bytes: sum(({ bytes }) => bytes),
    sent: sum(({ sent }) => sent),
    failedFiles: sum((each) => each.failed),
    wallMs: Math.round(wallMs),
  };
}
