/** One run's line in a listing. */
import { decodeSpec } from '../../protocol/codec.js';
import { STREAM, type RunInfo, type Spec } from '../../protocol/messages.js';
import type { KeeperRun } from './run.js';
import { listedWords } from './shown-words.js';

/** What LIST tells of a run. */
export function infoOf(run: KeeperRun): RunInfo {
  const { runId, name, openedMs, tags, principal } = run.identity;
  const { started, exit, audience, recorded } = run;
  const streams = run.streams();
  const length = (stream: number): number | undefined => streams.find((state) => state.stream === stream)?.next;
  return {
    runId,
    state: run.state,
    name,
    argv: wordsOf(run),
    pid: started?.pid,
    openedMs,
    startMs: started?.startMs,
    endMs: exit?.endMs,
    code: exit?.code,
    signal: exit?.signal,
    cause: exit?.cause ?? run.cause,
    blocked: run.blocked,
    attached: audience.attachments.size,
    controlled: audience.controller !== undefined || undefined,
    stdoutBytes: length(STREAM.stdout) ?? length(STREAM.pty) ?? recorded?.stdout,
    stderrBytes: length(STREAM.stderr) ?? recorded?.stderr,
    principal,
    tags,
    reason: exit?.reason ?? run.facts.refused?.message,
  };
}

function wordsOf({ spec, remembered, identity }: KeeperRun): readonly Uint8Array[] {
  const known: Spec | undefined = spec ?? (remembered.rawSpec && decodeSpec(remembered.rawSpec));
  return known?.verb === 'sh' ? listedWords(known) : identity.argv;
}
