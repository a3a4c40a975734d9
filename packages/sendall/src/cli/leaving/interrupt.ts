/** Ctrl-C and other signals. None of them loses received output. */
import { openSync } from 'node:fs';
import { isatty, ReadStream } from 'node:tty';
import { say } from '../show/print.js';
import { isInForeground } from '../terminal/foreground.js';
import { answerWith } from '../words/terminal-input.js';
import { onSignal } from './signals.js';
import { endLine } from '../show/status-line.js';

/** Milliseconds within which a second Ctrl-C cancels. */
const TWICE_WITHIN = 2000;
/** Milliseconds, beyond the command's grace, for the host to confirm a cancellation. */
const ANSWER_WITHIN = 3000;
/** The same without a link: a user who ends us need not wait for an absent host. */
const LINK_WITHIN = 1000;
/** Milliseconds between TERM and KILL by default. */
const GRACE = 5000;

/** How signals can affect a run, or many. */
export interface Interruptible {
  cancel(options: { reason: string }): Promise<unknown>;
  /** Whether a link is up to its host or, for many, to one where the command may still run. */
  readonly linked: boolean;
}

/**
 * How the user left before the end: on request, because the terminal or session ended, or without waiting for a
 * cancellation to finish. A watching caller may also leave by the signal that ends it.
 */
export type Departure = 'detached' | 'hungUp' | 'abandoned' | 'interrupted' | 'terminated';

/** What a first Ctrl-C says, and whether `d` may then detach. */
export interface Question {
  readonly words: string;
  readonly detaches: boolean;
}

const FOR_A_COMMAND: Question = {
  words: 'Ctrl-C again cancels the command, d detaches and lets it run',
  detaches: true,
};

export interface SignalWatch {
  readonly departed: Promise<Departure>;
  off(): void;
}

/**
 * On a terminal the first Ctrl-C asks, a second within two seconds cancels, and `d` detaches. Without a terminal,
 * SIGINT and SIGTERM cancel. SIGHUP detaches. Another request during the cancellation leaves immediately; so does a
 * host that does not answer. `grace`: milliseconds for the command between TERM and KILL.
 */
export function watchSignals(run: Interruptible, grace = GRACE, { words, detaches } = FOR_A_COMMAND): SignalWatch {
  let settle!: (how: Departure) => void;
  const departed = new Promise<Departure>((resolve) => (settle = resolve));
  let left = false;
  let cancelling = false;
  let askedAt = -Infinity;
  let question: OpenQuestion | undefined;
  let pause: NodeJS.Timeout | undefined;

  const depart = (how: Departure) => {
    left = true;
    // What is typed now is for the shell.
    question?.close();
    settle(how);
  };
  const cancel = (reason: string) => {
    // What was left goes on, whatever else comes: the end of a session sends several signals.
    if (left) return;
    if (cancelling) {
      depart('abandoned');
      return;
    }
    cancelling = true;
    let answered = false;
    // An answer that came in time is read first, even if this process stood still meanwhile.
    const giveUp = () => setImmediate(() => answered || depart('abandoned'));
    const late = setTimeout(giveUp, grace + ANSWER_WITHIN).unref();
    leaveWithoutLink();
    // A run that has ended meanwhile needs no cancelling.
    void run
      .cancel({ reason })
      .catch(() => undefined)
      .finally(() => {
        answered = true;
        clearTimeout(late);
      });
  };
  const leaveWithoutLink = (waited = 0) => {
    if (waited >= LINK_WITHIN) depart('abandoned');
    else pause = setTimeout(() => leaveWithoutLink(run.linked ? 0 : waited + LINK_WITHIN / 4), LINK_WITHIN / 4);
  };
  const again = () => {
    question?.close();
    cancel('cancelled with Ctrl-C');
  };
  const interrupt = () => {
    if (left) return;
    if (!isatty(2) || !isInForeground()) {
      cancel('interrupted by SIGINT');
      return;
    }
    const now = performance.now();
    if (cancelling || now - askedAt < TWICE_WITHIN) {
      again();
      return;
    }
    askedAt = now;
    // The terminal has just shown ^C.
    endLine(true);
    say(`sendall: ${words}`);
    question?.close();
    question = ask({ again, detach: () => detaches && depart('detached') });
  };
  const terminate = () => cancel('ended by SIGTERM');
  const watched = [
    onSignal('SIGINT', interrupt),
    onSignal('SIGTERM', terminate),
    onSignal('SIGHUP', () => depart('hungUp')),
  ];
  return {
    departed,
    off: () => {
      question?.close();
      clearTimeout(pause);
      for (const off of watched) off();
    },
  };
}

const ALONE = { SIGHUP: 'hungUp', SIGINT: 'interrupted', SIGTERM: 'terminated' } as const;

/**
 * For watching callers: a signal ends the caller alone. After SIGHUP it prints what it was doing. Other signals end it
 * as they end any program, unless a terminal has to be restored first.
 */
export function watchLeaving(signals: readonly (keyof typeof ALONE)[] = ['SIGHUP']): SignalWatch {
  let depart!: (how: Departure) => void;
  const departed = new Promise<Departure>((resolve) => (depart = resolve));
  const watched = signals.map((signal) => onSignal(signal, () => depart(ALONE[signal])));
  return {
    departed,
    off: () => {
      for (const off of watched) off();
    },
  };
}

interface OpenQuestion {
  close(): void;
}

/** Listens for two seconds to single keys of the terminal, regardless of our stdin. */
function ask(answers: { again: () => void; detach: () => void }): OpenQuestion {
  let keys: ReadStream;
  try {
    keys = new ReadStream(openSync('/dev/tty', 'r+'));
  } catch {
    return { close: () => undefined };
  }
  const take = (chunk: Buffer) => {
    for (const byte of chunk) {
      if (byte === 3) answers.again();
      else if (byte === 0x64 || byte === 0x44) answers.detach();
      else continue;
      return;
    }
  };
  // If the terminal is the command's stdin as well, either reader may get the answer.
  const end = answerWith(take);
  keys.setRawMode(true).on('data', take);
  const close = () => {
    clearTimeout(timer);
    end();
    if (!keys.destroyed) keys.setRawMode(false).destroy();
  };
  // An answer that came in time is read first, even if this process stood still meanwhile.
  const timer = setTimeout(() => setImmediate(close), TWICE_WITHIN).unref();
  return { close };
}
