/** The report of a probe as lines and as JSON. */
import { isUtf8 } from 'node:buffer';
import { formatPlan } from '../probe/plan.js';
import type { ProbeFailure, ProbeReport, Verdict } from '../probe/probe.js';
import { content } from '../wire/trace.js';
import { oneLine } from './printable.js';
import { table } from './table.js';

const VERDICTS: readonly Verdict[] = ['same', 'changed', 'hang', 'closed'];
const SHOWN_PIECES = 12;
const SHOWN_BYTES = 48;

/** A probe's result, as lines for a terminal. */
export function renderProbed(report: ProbeReport, repeat: string | undefined): string[] {
  const { request, framed, greeting, answers, answerMs, varyingBytes, cases, skipped, notTried, minimal } = report;
  const families = [...new Set(cases.map((each) => each.family))];
  const rows = families.map((family) => {
    const own = cases.filter((each) => each.family === family);
    return [family, own.length, ...VERDICTS.map((verdict) => own.filter((each) => each.verdict === verdict).length)];
  });
  return [
    `request: ${request.length} bytes${framed ? ', the framing put around what was given' : ''}: ${preview(request)}`,
    ...(greeting.length > 0
      ? [`greeting, waited for and not compared: ${greeting.slice(0, 3).map(preview).join(' | ')}`]
      : []),
    `answer, when sent whole: ${answers.length} ${answers.length === 1 ? 'message' : 'messages'} after ${answerMs} ms: ${answers.slice(0, 3).map(preview).join(' | ')}`,
    ...(varyingBytes > 0 ? [`${varyingBytes} bytes of it differ from time to time and were not compared`] : []),
    '',
    ...table(['cut', 'tried', ...VERDICTS], rows),
    ...(skipped > 0 ? [`${skipped} more were not tried: their kind had failed often enough (--all tries them)`] : []),
    ...notTried.map(({ what, reason }) => `not tried: ${what} (${reason})`),
    '',
    ...(minimal
      ? [...renderFailure(minimal, request.length), ...(repeat === undefined ? [] : [`repeat it: ${repeat}`])]
      : [notTried.length > 0 ? 'no cut that was tried changes the answer' : 'no cut changes the answer']),
  ];
}

/** One case: what was sent, expected, and received. */
export function renderFailure(failure: ProbeFailure, requestLength: number): string[] {
  const { plan, verdict, reason, sent, expected, got } = failure;
  const pause = plan.pauseMs > 0 ? ` (${plan.pauseMs} ms) ` : ' ';
  const shown = sent.slice(0, SHOWN_PIECES).map(preview);
  if (sent.length > SHOWN_PIECES) shown.push(`… ${sent.length - SHOWN_PIECES} more writes`);
  return [
    `${verdict === 'same' ? 'the answer is the same' : `a cut changes the answer: ${verdict}`}${reason === undefined ? '' : `, ${reason}`}`,
    `  case      ${formatPlan(plan, requestLength)}   (copies:cuts:pause)`,
    `  sent      ${shown.join(`${pause}| `)}`,
    `  expected  ${expected.slice(0, SHOWN_PIECES).map(preview).join(' | ')}`,
    `  got       ${got.length === 0 ? 'nothing' : got.slice(0, SHOWN_PIECES).map(preview).join(' | ')}`,
  ];
}

function all(list: readonly Buffer[]): object[] {
  return list.map((bytes) => ({ length: bytes.length, ...content(bytes) }));
}

function preview(bytes: Buffer): string {
  const shown = bytes.subarray(0, SHOWN_BYTES);
  const more = bytes.length > SHOWN_BYTES ? `… (${bytes.length} bytes)` : '';
  return `${isUtf8(shown) && !shown.includes(0) ? JSON.stringify(oneLine(shown.toString())) : shown.toString('hex')}${more}`;
}

export function probedJson(report: ProbeReport, repeat: string | undefined): object {
  const { request, greeting, answers, cases, minimal, ...rest } = report;
  const plan = (each: { plan: Parameters<typeof formatPlan>[0] }) => formatPlan(each.plan, request.length);
  return {
    ok: minimal === undefined,
    ...rest,
    request: request.toString('hex'),
    greeting: all(greeting),
    answers: all(answers),
    cases: cases.map((each) => ({
      family: each.family,
      case: plan(each),
      verdict: each.verdict,
      ...(each.reason !== undefined && { reason: each.reason }),
    })),
    ...(minimal && { minimal: failureJson(minimal, request.length) }),
    ...(repeat !== undefined && { repeat }),
  };
}

export function failureJson(failure: ProbeFailure, requestLength: number): object {
  return {
    case: formatPlan(failure.plan, requestLength),
    verdict: failure.verdict,
    ...(failure.reason !== undefined && { reason: failure.reason }),
    sent: failure.sent.map((piece) => piece.toString('hex')),
    expected: all(failure.expected),
    got: all(failure.got),
  };
}
