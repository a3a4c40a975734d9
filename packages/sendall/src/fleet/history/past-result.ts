/** A result from the history: that of a host, with its output as far as it is kept. */
import { asResult, type Result } from '../../client/result/result.js';
import type { StreamName } from '../../client/streams/output.js';
import type { Blobs } from './blobs.js';
import { bytesOf, digestOf } from './collected.js';
import type { HostEnd } from './records.js';

/** The output of a stream; undefined when it is not kept. */
export function outputOf(end: HostEnd, stream: StreamName, blobs: Blobs): Buffer | undefined {
  const piece = end[stream];
  const inRecord = bytesOf(piece);
  if (inRecord || piece?.sha256 === undefined) return inRecord;
  return blobs.get(piece.sha256, piece.bytes);
}

/**
 * Reads outputs from the disk only when they are asked for. What is not kept is empty. `digests`: with those that the
 * result did not show.
 */
export function pastResult(end: HostEnd, blobs: Blobs, digests: boolean): Result {
  const { host, run, outcome, code, signal, openedMs, startMs, endMs, durationMs } = end;
  const read: Partial<Record<StreamName, Buffer>> = {};
  const raw = (stream: StreamName): Buffer => (read[stream] ??= outputOf(end, stream, blobs) ?? Buffer.alloc(0));
  const sha256 = (stream: StreamName) => (end.sha256 || digests ? digestOf(end[stream]) : undefined);
  return asResult({
    ok: outcome === 'ok',
    outcome,
    code,
    signal,
    runId: run,
    host,
    get stdout() {
      return raw('stdout').toString();
    },
    get stderr() {
      return raw('stderr').toString();
    },
    raw: {
      get stdout() {
        return raw('stdout');
      },
      get stderr() {
        return raw('stderr');
      },
    },
    stdoutFrom: end.stdoutFrom,
    stderrFrom: end.stderrFrom,
    finals: { stdout: end.stdout?.bytes ?? 0, stderr: end.stderr?.bytes ?? 0 },
    sha256: { stdout: sha256('stdout'), stderr: sha256('stderr') },
    gaps: end.gaps ?? [],
    survivors: (end.survivors ?? []).map(({ pid, program }) => ({ pid, argv: [program] })),
    killProof: end.killProof,
    rusage: end.rusage,
    timing: { openedMs, startMs, endMs, durationMs },
    specHash: '',
    log: end.log,
    refusal: end.refusal,
    reason: end.reason ?? 'the command ended with code 0',
  });
}
