/** The end of each entry: the sender is told, and this side reports it. */
import { problemOf, type Problem } from '../files/problem.js';
import type { Channel } from '../stream/channel.js';
import type { EntryKind } from '../stream/events.js';
import { encodeMessage } from '../stream/messages.js';
import type { Tally } from '../stream/tally.js';
import type { Level } from './level.js';

/** What became of an entry. */
export interface Settled {
  readonly path: Buffer;
  readonly kind: EntryKind;
  readonly bytes: number;
  readonly sha256?: Buffer | undefined;
}
export type SettledState = 'placed' | 'same' | 'failed';

export class Settling {
  readonly #channel: Channel;
  readonly #tally: Tally;
  readonly #maxReason: number;
  /** Entries that have come to their end. */
  count = 0;
  /** Called when something in a folder has. */
  onSettled: (level: Level) => void = () => {};

  constructor(channel: Channel, tally: Tally, maxReason: number) {
    this.#channel = channel;
    this.#tally = tally;
    this.#maxReason = maxReason;
  }

  /** Both sides report the same. `tell`: the sender does not know yet. */
  settle(number: number, level: Level, event: Settled & { state: SettledState }, error?: unknown, tell = true): void {
    this.count++;
    let { state } = event;
    let why: { reason: string; errno: string | undefined } | undefined;
    if (error !== undefined) {
      const { message: reason, errno } = problemOf(error);
      state = 'failed';
      why = { reason: reason.slice(0, this.#maxReason), errno };
    }
    if (why) {
      if (tell) this.#channel.send(encodeMessage('problem', { file: number, ...why }));
    } else this.#channel.send(encodeMessage(state === 'same' ? 'same' : 'placed', { file: number }));
    try {
      this.#tally.report({ ...event, state, ...why, sha256: why ? undefined : event.sha256 });
    } catch (failure) {
      this.#channel.fail(failure as Error);
    }
    level.pending--;
    if (!level.isTop) this.onSettled(level);
  }

  /** A failure of something without a number. */
  refuse(path: Buffer, kind: EntryKind, { message: reason, errno }: Problem): void {
    this.#channel.send(encodeMessage('problem', { path, reason, errno }));
    this.#tally.report({ state: 'failed', path, kind, bytes: 0, reason, errno });
  }
}
