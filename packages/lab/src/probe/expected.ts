/** A server's answer to a whole request, and the bytes of it that vary by themselves. */
import type { Heard } from './talk.js';

/** One expected answer: its bytes, and those that vary from time to time by themselves. */
interface ExpectedAnswer {
  readonly bytes: Buffer;
  readonly varying: Set<number>;
  /** Its length varies too, so only its presence can be checked. */
  anyLength: boolean;
}

/**
 * A server's answers to the whole request. Answers may contain a clock, a counter or a process id, so bytes that differ
 * between two identical requests are not compared.
 */
export class Expected {
  readonly #answers: ExpectedAnswer[];
  readonly #raw: boolean;

  /** @param raw no framing: the answer is all bytes */
  constructor(heard: Heard, raw: boolean) {
    this.#raw = raw;
    this.#answers = heard.answers.map((bytes) => ({ bytes, varying: new Set(), anyLength: false }));
  }

  get answers(): number {
    return this.#answers.length;
  }

  get length(): number {
    return this.#answers.reduce((sum, answer) => sum + answer.bytes.length, 0);
  }

  get bytes(): readonly Buffer[] {
    return this.#answers.map((answer) => answer.bytes);
  }

  /** The number of answer bytes excluded from comparisons. */
  get varyingBytes(): number {
    return this.#answers.reduce(
      (sum, answer) => sum + (answer.anyLength ? answer.bytes.length : answer.varying.size),
      0,
    );
  }

  /** Whether enough has arrived to answer this many copies of the request. */
  enough(copies: number): (answers: number, bytes: number) => boolean {
    const anyLength = this.#answers.some((answer) => answer.anyLength);
    return this.#raw && !anyLength
      ? (_, bytes) => bytes >= this.length * copies
      : (answers, bytes) => (this.#raw ? bytes > 0 : answers >= this.#answers.length * copies);
  }

  /** The whole request was sent again: bytes that differ now vary by themselves. */
  learn(answers: readonly Buffer[]): void {
    if (answers.length !== this.#answers.length) return;
    for (const [index, answer] of this.#answers.entries()) {
      const now = answers[index]!;
      if (now.length !== answer.bytes.length) answer.anyLength = true;
      else for (let at = 0; at < now.length; at++) if (now[at] !== answer.bytes[at]) answer.varying.add(at);
    }
  }

  /** How the answers differ from this many copies of the expected one; `undefined` when they match. */
  difference(heard: Heard, copies: number): string | undefined {
    const answers = this.#raw ? this.#parts(heard.bytes, copies) : heard.answers;
    const wanted = this.#answers.length * copies;
    if (answers.length !== wanted)
      return `${answers.length} ${answers.length === 1 ? 'answer' : 'answers'} came instead of ${wanted}`;
    if (heard.unfinished !== undefined) return heard.unfinished;
    for (const [index, now] of answers.entries()) {
      const answer = this.#answers[index % this.#answers.length]!;
      if (answer.anyLength) continue;
      if (now.length !== answer.bytes.length) {
        return `answer ${index + 1} has ${now.length} bytes instead of ${answer.bytes.length}`;
      }
      const at = now.findIndex((byte, place) => byte !== answer.bytes[place] && !answer.varying.has(place));
      if (at !== -1) return `answer ${index + 1} differs from its byte ${at} on`;
    }
    return undefined;
  }

  /** Raw bytes, cut at the expected lengths of the answers. */
  #parts(bytes: Buffer, copies: number): Buffer[] {
    if (this.#answers.some((answer) => answer.anyLength))
      return bytes.length > 0 ? Array.from({ length: copies }, () => bytes) : [];
    const parts: Buffer[] = [];
    let at = 0;
    for (let copy = 0; copy < copies; copy++) {
      for (const answer of this.#answers) {
        if (at >= bytes.length) return parts;
        parts.push(bytes.subarray(at, (at += answer.bytes.length)));
      }
    }
    if (at < bytes.length) parts.push(bytes.subarray(at));
    return parts;
  }
}
