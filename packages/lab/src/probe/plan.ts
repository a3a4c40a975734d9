/** The ways to cut a request that a probe tries. */

/**
 * One way of sending a request: the number of consecutive copies, the places where the bytes are cut into writes, and
 * the pause between two writes. As text: `COPIES:CUTS:PAUSE`, for example `2:9,20:5`; `*` cuts between all bytes.
 */
export interface Plan {
  readonly copies: number;
  /** Offsets into all copies together, ascending. */
  readonly cuts: readonly number[];
  readonly pauseMs: number;
}

export function formatPlan(plan: Plan, length: number): string {
  const all = plan.cuts.length > 3 && plan.cuts.length === plan.copies * length - 1;
  return `${plan.copies}:${all ? '*' : plan.cuts.join(',')}:${plan.pauseMs}`;
}

/** @throws Error that shows the form of a plan */
export function parsePlan(text: string, length: number): Plan {
  const [, copies, cuts, pause] = /^(\d{1,3}):(\*|[\d,]*):(\d{1,6})$/.exec(text) ?? [];
  if (copies === undefined || cuts === undefined || Number(copies) < 1) {
    throw new Error(`"${text}" is not a case: expected COPIES:CUTS:PAUSE, for example 2:9,20:5`);
  }
  const total = Number(copies) * length;
  const offsets = cuts === '*' ? everyByte(total) : cuts.split(',').filter(Boolean).map(Number);
  if (offsets.some((offset, index) => offset <= (offsets[index - 1] ?? 0) || offset >= total)) {
    throw new Error(`the cuts of "${text}" must ascend and lie inside its ${total} bytes`);
  }
  return { copies: Number(copies), cuts: offsets, pauseMs: Number(pause) };
}

export function everyByte(total: number): number[] {
  return Array.from({ length: total - 1 }, (_, index) => index + 1);
}

/** The writes of a plan. */
export function pieces(plan: Plan, request: Buffer): Buffer[] {
  const bytes = Buffer.concat(Array.from({ length: plan.copies }, () => request));
  return [0, ...plan.cuts].map((from, index) => bytes.subarray(from, plan.cuts[index] ?? bytes.length));
}

/** Plans that test one idea. Once several have failed, the rest would add nothing. */
export interface Family {
  readonly name: string;
  readonly plans: readonly Plan[];
}

/** Milliseconds in which a waiting server reads the bytes before the cut: more for one that answers slowly, up to a limit. */
const PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 400;
const MOST_OFFSETS = 192;
/** Usual sizes of read buffers: programs often mistake a request for whole at these. */
const BUFFER_SIZES = [1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];

const single = (cuts: number[], pauseMs: number): Plan => ({ copies: 1, cuts, pauseMs });
const many = (copies: number, cuts: number[], pauseMs = 0): Plan => ({ copies, cuts, pauseMs });

/** Something not tried, and why. */
export interface NotTried {
  readonly what: string;
  readonly reason: string;
}

/** The cases `families` omits for a request of this length. */
export function leftOut(length: number, repeatable: boolean, greeting: boolean): NotTried[] {
  const list: NotTried[] = [];
  if (length === 1) list.push({ what: 'split, byte by byte, slow', reason: 'the request is one byte' });
  const all = length - 1;
  const tried = offsets(length).length;
  if (tried < all)
    list.push({ what: `splits at ${all - tried} of ${all} offsets`, reason: 'a sample stands for them' });
  if (length > 2048) list.push({ what: 'byte by byte', reason: `pieces of ${stepOf(length)} bytes stand for it` });
  if (!repeatable) {
    const reason = 'a second request on the same connection is not answered the same';
    list.push({ what: 'glued, glued and split, pipelined', reason });
  } else if (oddPieces(length).length > MOST_ODD_PIECES) {
    list.push({ what: 'pipelined in odd pieces', reason: 'the request is too long' });
  }
  if (greeting) {
    list.push({ what: 'requests that do not wait for the greeting', reason: 'the greeting is waited for each time' });
    list.push({ what: 'the greeting', reason: 'it is not compared' });
  }
  return list;
}

/**
 * All cases for a request of this length.
 * @param answerMs how long the server takes to answer
 */
export function families(length: number, repeatable: boolean, answerMs: number): Family[] {
  const list: Family[] = [];
  const pause = Math.min(LONGEST_PAUSE_MS, Math.max(PAUSE_MS, 2 * answerMs));
  if (length > 1) {
    const step = stepOf(length);
    const bytewise = everyByte(length).filter((offset) => offset % step === 0);
    list.push({ name: 'split at every offset', plans: offsets(length).map((offset) => single([offset], pause)) });
    list.push({ name: step === 1 ? 'byte by byte' : `every ${step} bytes`, plans: [single(bytewise, 2)] });
    const slow = [...new Set([Math.ceil(length / 3), Math.ceil((2 * length) / 3)])].filter((offset) => offset < length);
    list.push({ name: 'slow', plans: [single(slow, LONGEST_PAUSE_MS)] });
  }
  if (!repeatable) return list;
  const middle = Math.max(1, length >> 1);
  list.push({ name: 'glued', plans: [many(2, []), many(3, [])] });
  list.push({
    name: 'glued and split',
    plans: [...new Set([length - 1, length + 1, length + middle, 2 * length - 1])]
      .filter((cut) => cut > 0 && cut < 2 * length && cut !== length)
      .map((cut) => many(2, [cut], pause)),
  });
  const between = Array.from({ length: 9 }, (_, index) => (index + 1) * length);
  list.push({ name: 'pipelined', plans: [many(10, between), many(10, [])] });
  const odd = oddPieces(length);
  if (odd.length > 0 && odd.length <= MOST_ODD_PIECES)
    list.push({ name: 'pipelined in odd pieces', plans: [many(4, odd, 1)] });
  return list;
}

/** Size of pieces when single bytes would be too many writes. */
const stepOf = (length: number): number => Math.ceil(length / 2048);

const MOST_ODD_PIECES = 2048;
const oddPieces = (length: number): number[] => everyByte(length * 4).filter((offset) => offset % 3 === 0);

/** All offsets of a short request; for a long one, its beginning, its end, usual buffer sizes and a regular sample. */
function offsets(length: number): number[] {
  const all = everyByte(length);
  if (all.length <= MOST_OFFSETS) return all;
  const stride = Math.ceil(length / (MOST_OFFSETS / 3));
  const wanted = new Set(BUFFER_SIZES.flatMap((size) => [size - 1, size, size + 1]));
  return all.filter((offset) => offset <= 64 || offset > length - 32 || wanted.has(offset) || offset % stride === 0);
}
