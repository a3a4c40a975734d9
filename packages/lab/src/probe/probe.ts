/** Looks for cuts of a request that change a server's answer. */
import { FramingError, parseFraming } from '@sendall/framing';
import type { Address } from '../address.js';
import { Tap } from '../messages/tap.js';
import { Expected } from './expected.js';
import { families, formatPlan, leftOut, type NotTried, pieces, type Plan } from './plan.js';
import { Talk, type Heard } from './talk.js';

/** The server to probe, and the requests. */
export interface ProbeOptions {
  readonly address: Address;
  /** The framing of the server's answers (and of a request given as a payload); `raw`: none. */
  readonly framing: string;
  /** One request, or several sent one after the other. */
  readonly requests: readonly Buffer[];
  /** Milliseconds of silence before a server counts as hanging. @default 2000 */
  readonly timeoutMs?: number;
  /** Tries everything, even when a family of cuts has failed several times. @default false */
  readonly all?: boolean;
  readonly onProgress?: (family: string, done: number, of: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** `changed`: the answers differ. `hang`: some are missing. `closed`: the server ended the connection instead. */
export type Verdict = 'same' | 'changed' | 'hang' | 'closed';

/** One way to cut a request, and the verdict. */
export interface ProbeCase {
  readonly family: string;
  readonly plan: Plan;
  readonly verdict: Verdict;
  readonly reason?: string;
}

/** A cut that changed the answer. */
export interface ProbeFailure extends ProbeCase {
  readonly sent: readonly Buffer[];
  readonly expected: readonly Buffer[];
  readonly got: readonly Buffer[];
}

/** The result of a probe. */
export interface ProbeReport {
  /** The request's bytes on the wire, and whether the framing was added to the given bytes. */
  readonly request: Buffer;
  readonly framed: boolean;
  /** Sent by the server before any request. Each connection waits for it, and it is not compared. */
  readonly greeting: readonly Buffer[];
  readonly answers: readonly Buffer[];
  readonly answerMs: number;
  /** Answer bytes that vary by themselves and were not compared. */
  readonly varyingBytes: number;
  /** Whether a connection accepts the same request twice; otherwise nothing can be glued. */
  readonly repeatable: boolean;
  readonly cases: readonly ProbeCase[];
  /** Cases skipped because their family had failed often enough. */
  readonly skipped: number;
  /** Other cases that were not tried, and why; the report does not cover them. */
  readonly notTried: readonly NotTried[];
  /** The smallest case that fails. */
  readonly minimal?: ProbeFailure;
}

/** The server could not be probed: it does not answer the whole request in this framing. */
export class NoAnswerError extends Error {
  override readonly name = 'NoAnswerError';
}

const QUIET_MS = 150;
const SETTLE_MS = 25;
const DEFAULT_TIMEOUT_MS = 2000;
const ENOUGH_FAILURES = 3;
const MOST_SHRINK_STEPS = 40;

/** A server under test, and its answer to the whole request. */
export class Probe {
  readonly request: Buffer;
  readonly framed: boolean;
  readonly repeatable: boolean;
  readonly answerMs: number;
  readonly greeting: readonly Buffer[];
  readonly expected: Expected;
  readonly #options: ProbeOptions;
  readonly #parts: readonly Buffer[];

  private constructor(options: ProbeOptions, parts: readonly Buffer[], framed: boolean, baseline: Baseline) {
    this.#options = options;
    this.#parts = parts;
    this.request = Buffer.concat(parts);
    this.framed = framed;
    this.repeatable = baseline.repeatable;
    this.answerMs = baseline.heard.ms;
    this.greeting = baseline.greeting;
    this.expected = new Expected(baseline.heard, options.framing === 'raw');
  }

  /**
   * Sends the request whole, each part after the answer to the one before. Whole frames are sent unchanged. Other bytes
   * may be exact bytes or a payload: they are sent unchanged first, and in a frame if no answer arrives.
   *
   * @throws NoAnswerError
   */
  static async open(options: ProbeOptions): Promise<Probe> {
    const { framing, requests } = options;
    if (requests.length === 0 || requests.some((request) => request.length === 0))
      throw new Error('an empty request asks nothing');
    const whole = requests.every((request) => isWhole(request, framing));
    const forms = [{ parts: requests, framed: false }];
    if (!whole) {
      try {
        const encoder = parseFraming(framing).encoder();
        forms.push({ parts: requests.map((request) => encoder.encode(request)), framed: true });
      } catch (error) {
        if (!(error instanceof FramingError)) throw error; // it cannot carry these bytes, so they are sent unchanged
      }
    }
    let reason = '';
    for (const { parts, framed } of forms) {
      const baseline = await ask(options, parts);
      if ('reason' in baseline) {
        reason ||= baseline.reason;
        continue;
      }
      const probe = new Probe(options, parts, framed, baseline);
      await probe.#askAgain();
      return probe;
    }
    throw new NoAnswerError(`the request, sent whole, gets no answer in the framing ${framing}: ${reason}`);
  }

  /** Sends the request in one way and compares; what looks wrong is tried once more, with more patience. */
  async try(plan: Plan, family = 'repeat'): Promise<ProbeFailure> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = this.#options;
    const patience = (least: number, times: number) => Math.min(timeoutMs, Math.max(least, this.answerMs * times));
    const first = await this.#once(plan, family, patience(400, 10));
    if (first.verdict === 'same') return first;
    await this.#askAgain();
    return this.#once(plan, family, patience(1000, 20));
  }

  /** A smaller plan that fails too: fewer copies, then fewer cuts. */
  async shrink(failure: ProbeFailure): Promise<ProbeFailure> {
    let smallest = failure;
    let steps = 0;
    const attempt = async (plan: Plan): Promise<boolean> => {
      if (++steps > MOST_SHRINK_STEPS) return false;
      const tried = await this.try(plan, failure.family);
      if (tried.verdict === 'same') return false;
      smallest = tried;
      return true;
    };
    for (let copies = 1; copies < smallest.plan.copies; copies++) {
      const cuts = smallest.plan.cuts.filter((cut) => cut < copies * this.request.length);
      if (await attempt({ ...smallest.plan, copies, cuts })) break;
    }
    // Halves of the cuts first, then smaller parts, down to single ones.
    for (let part = Math.ceil(smallest.plan.cuts.length / 2); part >= 1; part = part === 1 ? 0 : Math.ceil(part / 2)) {
      for (let at = 0; at < smallest.plan.cuts.length && smallest.plan.cuts.length > 1;) {
        const { plan } = smallest;
        const cuts = plan.cuts.filter((_, index) => index < at || index >= at + part);
        if (cuts.length === plan.cuts.length || !(await attempt({ ...plan, cuts }))) at += part;
      }
    }
    return smallest;
  }

  async #once(plan: Plan, family: string, timeoutMs: number): Promise<ProbeFailure> {
    const sent = pieces(plan, this.request);
    const talk = await this.#talk();
    try {
      await talk.send(sent, plan.pauseMs);
      const heard = await talk.hear({ enough: this.expected.enough(plan.copies), timeoutMs, settleMs: SETTLE_MS });
      const reason = this.expected.difference(heard, plan.copies);
      const got = heard.answers.length > 0 || heard.bytes.length === 0 ? heard.answers : [heard.bytes];
      const expected = Array.from({ length: plan.copies }, () => this.expected.bytes).flat();
      const verdict = this.#verdict(heard, reason, plan.copies);
      return { family, plan, verdict, sent, expected, got, ...(reason !== undefined && { reason }) };
    } finally {
      talk.close();
    }
  }

  /** A new connection, after the server's greeting, if it sends one. */
  async #talk(): Promise<Talk> {
    const { address, framing, timeoutMs = DEFAULT_TIMEOUT_MS } = this.#options;
    const talk = await Talk.open(address, framing);
    if (this.greeting.length > 0) await hearGreeting(talk, framing, this.greeting.length, timeoutMs);
    return talk;
  }

  #verdict(heard: Heard, reason: string | undefined, copies: number): Verdict {
    if (reason === undefined) return 'same';
    if (this.expected.enough(copies)(heard.answers.length, heard.bytes.length)) return 'changed';
    const wrong = heard.answers.length > 0 && this.#looksWrong(heard);
    return wrong ? 'changed' : heard.closed ? 'closed' : 'hang';
  }

  /** One of the answers received should not be there. */
  #looksWrong(heard: Heard): boolean {
    const { bytes } = this.expected;
    return (
      this.expected.varyingBytes === 0 &&
      heard.answers.some((answer, index) => !answer.equals(bytes[index % bytes.length]!))
    );
  }

  /** Finds out which bytes vary by themselves. */
  async #askAgain(): Promise<void> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = this.#options;
    const talk = await this.#talk();
    try {
      const answers: Buffer[] = [];
      for (const part of this.#parts) {
        await talk.send([part], 0);
        const enough =
          this.#parts.length === 1
            ? this.expected.enough(1)
            : (count: number, length: number) => count > 0 || length > 0;
        answers.push(
          ...(await talk.hear({ enough, timeoutMs, settleMs: this.#parts.length === 1 ? SETTLE_MS : QUIET_MS }))
            .answers,
        );
      }
      this.expected.learn(answers);
    } finally {
      talk.close();
    }
  }
}

interface Baseline {
  readonly greeting: readonly Buffer[];
  readonly heard: Heard;
  readonly repeatable: boolean;
}

/**
 * Sends the request twice on one connection. Messages before the first request are a greeting. If the first request
 * gets more messages than the second, the extra ones in front are a greeting too, provided that the server sends that
 * many unasked to a client that waits longer.
 */
async function ask(options: ProbeOptions, parts: readonly Buffer[]): Promise<Baseline | { reason: string }> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const quick = await askTwice(options, parts, undefined, QUIET_MS);
  if ('reason' in quick || quick.repeatable || quick.greeting.length > 0 || quick.more <= 0) return quick;
  const patient = await askTwice(options, parts, quick.more, timeoutMs);
  return 'reason' in patient || !patient.repeatable ? quick : patient;
}

async function askTwice(
  options: ProbeOptions,
  parts: readonly Buffer[],
  greetings: number | undefined,
  greetingMs: number,
): Promise<(Baseline & { more: number }) | { reason: string }> {
  const { address, framing, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const talk = await Talk.open(address, framing);
  const round = async (): Promise<Heard | { reason: string }> => {
    const answers: Buffer[] = [];
    const bytes: Buffer[] = [];
    let ms = 0;
    for (const part of parts) {
      await talk.send([part], 0);
      const heard = await talk.hear({
        enough: (count, length) => (framing === 'raw' ? length > 0 : count > 0),
        timeoutMs,
        settleMs: QUIET_MS,
      });
      if (heard.answers.length === 0 || heard.unfinished !== undefined) return { reason: whyNot(heard, timeoutMs) };
      answers.push(...heard.answers);
      bytes.push(heard.bytes);
      ms = Math.max(ms, heard.ms);
    }
    return { answers, bytes: Buffer.concat(bytes), ms };
  };
  try {
    const { answers: greeting, unfinished } = await hearGreeting(talk, framing, greetings, greetingMs);
    if (unfinished !== undefined) return { reason: `before it is asked it says what does not fit: ${unfinished}` };
    const first = await round();
    if ('reason' in first) return first;
    const second = await round();
    const repeatable = !('reason' in second) && sameShape(first, second);
    const more = 'reason' in second ? 0 : first.answers.length - second.answers.length;
    return { greeting, heard: first, repeatable, more };
  } finally {
    talk.close();
  }
}

/** Reads a server's messages before any request: a known number of them, or all until it is quiet. */
function hearGreeting(talk: Talk, framing: string, count: number | undefined, timeoutMs: number): Promise<Heard> {
  const enough =
    count === undefined
      ? () => false
      : (answers: number, bytes: number) => (framing === 'raw' ? bytes > 0 : answers >= count);
  return talk.hear({ enough, timeoutMs, settleMs: framing === 'raw' ? QUIET_MS : SETTLE_MS });
}

/** The second answer has the same shape: as many messages, of the same sizes. */
function sameShape(first: Heard, second: Heard): boolean {
  return (
    first.answers.length === second.answers.length &&
    first.answers.every((answer, index) => Math.abs(answer.length - second.answers[index]!.length) <= 16)
  );
}

function whyNot(heard: Heard, timeoutMs: number): string {
  if (heard.unfinished !== undefined) return heard.unfinished;
  if (heard.closed)
    return heard.closed === 'reset' ? 'the server resets the connection' : 'the server closes the connection';
  return `nothing came within ${timeoutMs} ms`;
}

function isWhole(request: Buffer, framing: string): boolean {
  if (framing === 'raw') return true;
  const tap = new Tap(framing);
  const read = tap.read(request);
  return read.error === undefined && read.messages.length > 0 && read.partial === undefined;
}

/**
 * Sends a server the same request in many ways - split at every offset, byte by byte, slow, glued, pipelined - and
 * reports which ways change its answers. A correct server cannot tell them apart.
 *
 * @throws NoAnswerError when it does not answer the whole request
 */
export async function probe(options: ProbeOptions): Promise<ProbeReport> {
  const subject = await Probe.open(options);
  const { request, framed, repeatable, answerMs } = subject;
  const cases: ProbeCase[] = [];
  const failures: ProbeFailure[] = [];
  let skipped = 0;
  for (const { name, plans } of families(request.length, repeatable, answerMs)) {
    let failed = 0;
    for (const [index, plan] of plans.entries()) {
      options.signal?.throwIfAborted();
      if (failed >= ENOUGH_FAILURES && !options.all) {
        skipped += plans.length - index;
        break;
      }
      const tried = await subject.try(plan, name);
      const { family, verdict, reason } = tried;
      cases.push({ family, plan, verdict, ...(reason !== undefined && { reason }) });
      options.onProgress?.(name, index + 1, plans.length);
      if (verdict !== 'same') {
        failed++;
        failures.push(tried);
      }
    }
  }
  const smallest = failures.sort((left, right) => size(left.plan) - size(right.plan))[0];
  const minimal = smallest && (await subject.shrink(smallest));
  return {
    request,
    framed,
    greeting: subject.greeting,
    answers: subject.expected.bytes,
    answerMs,
    varyingBytes: subject.expected.varyingBytes,
    repeatable,
    cases,
    skipped,
    notTried: leftOut(request.length, repeatable, subject.greeting.length > 0),
    ...(minimal && { minimal }),
  };
}

function size(plan: Plan): number {
  return (plan.copies - 1) * 1000 + plan.cuts.length;
}

/** A complete case as text: the address, the framing, the requests' bytes, and the plan. */
export function formatCase(
  address: string,
  framing: string,
  requests: readonly Buffer[],
  plan: Plan,
  length: number,
): string {
  return `${address}/${framing}/${requests.map((request) => request.toString('hex')).join('+')}/${formatPlan(plan, length)}`;
}

/** Parses the text of `formatCase`; `undefined` when it is only a plan. */
export function parseCase(
  text: string,
): { address: string; framing: string; requests: Buffer[]; plan: string } | undefined {
  const match = /^(.+)\/([^/]+)\/([0-9a-f+]+)\/([^/]+)$/.exec(text);
  if (!match) return undefined;
  const [, address, framing, hex, plan] = match as unknown as [string, string, string, string, string];
  return { address, framing, requests: hex.split('+').map((each) => Buffer.from(each, 'hex')), plan };
}
