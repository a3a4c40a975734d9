/** Ctrl-C and friends. Nothing that was received is lost by any of them. */
import { openSync } from 'node:fs';
import { isatty, ReadStream } from 'node:tty';
import { say } from './print.js';
import { endLine } from './status-line.js';

/** A second Ctrl-C within this many milliseconds cancels. */
const TWICE_WITHIN = 2000;

/** What signals can do to a run, or to many. */
export interface Interruptible {
  cancel(options: { reason: string }): Promise<unknown>;
}

/** How the user left before the end: the command goes on, or its cancelling is not waited for. */
export type Departure = 'detached' | 'abandoned';

export interface SignalWatch {
  readonly departed: Promise<Departure>;
  off(): void;
}

/**
 * On a terminal the first Ctrl-C asks, a second within two seconds cancels, and `d` detaches. Without one SIGINT and
 * SIGTERM cancel. SIGHUP detaches. Whoever asks once more while it is being cancelled does not wait for it.
 */
export function watchSignals(run: Interruptible): SignalWatch {
  let depart!: (how: Departure) => void;
  const departed = new Promise<Departure>((resolve) => (depart = resolve));
  let cancelling = false;
  let askedAt = -Infinity;
  let question: Question | undefined;

  const cancel = (reason: string) => {
    if (cancelling) {
      depart('abandoned');
      return;
    }
    cancelling = true;
    // Without a link it is asked for on the next one. A run that has ended meanwhile needs nothing.
    void run.cancel({ reason }).catch(() => undefined);
  };
  const interrupt = () => {
    if (!isatty(2)) {
      cancel('interrupted by SIGINT');
      return;
    }
    const now = performance.now();
    if (cancelling || now - askedAt < TWICE_WITHIN) {
      question?.close();
      cancel('cancelled with Ctrl-C');
      return;
    }
    askedAt = now;
    // The terminal has just shown ^C.
    endLine(true);
    say('sendall: Ctrl-C again cancels the command, d detaches and lets it run');
    question?.close();
    question = ask({ interrupt, detach: () => depart('detached') });
  };
  const terminate = () => cancel('ended by SIGTERM');
  const hangUp = () => depart('detached');
  process.on('SIGINT', interrupt).on('SIGTERM', terminate).on('SIGHUP', hangUp);
  return {
    departed,
    off: () => {
      question?.close();
      process.off('SIGINT', interrupt).off('SIGTERM', terminate).off('SIGHUP', hangUp);
    },
  };
}

interface Question {
  close(): void;
}

/**
 * Listens for two seconds to single keys of the terminal, whatever our stdin is. A stdin that is this terminal waits
 * meanwhile, so that the answer does not go to the command.
 */
function ask(answers: { interrupt: () => void; detach: () => void }): Question {
  let keys: ReadStream;
  try {
    keys = new ReadStream(openSync('/dev/tty', 'r+'));
  } catch {
    return { close: () => undefined };
  }
  const paused = isatty(0) && process.stdin.listenerCount('data') > 0;
  if (paused) process.stdin.pause();
  keys.setRawMode(true).on('data', (chunk: Buffer) => {
    for (const byte of chunk) {
      if (byte === 3) answers.interrupt();
      else if (byte === 0x64 || byte === 0x44) answers.detach();
      else continue;
      return;
    }
  });
  const close = () => {
    clearTimeout(timer);
    if (keys.destroyed) return;
    keys.setRawMode(false).destroy();
    if (paused) process.stdin.resume();
  };
  const timer = setTimeout(close, TWICE_WITHIN).unref();
  return { close };
}
