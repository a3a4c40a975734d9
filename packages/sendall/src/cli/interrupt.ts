/** Ctrl-C and friends. Nothing that was received is lost by any of them. */
import type { Run } from '../index.js';
import { say } from './print.js';

const TWICE_WITHIN = 2000;

/**
 * On a terminal the first Ctrl-C asks, a second within two seconds cancels, and `d` detaches. Without one SIGINT and
 * SIGTERM cancel. SIGHUP detaches. Returns what switches this off again; `detached` resolves when it was chosen.
 */
export function watchSignals(run: Run): { off: () => void; detached: Promise<void> } {
  let chooseDetach!: () => void;
  const detached = new Promise<void>((resolve) => (chooseDetach = resolve));
  const cancel = (reason: string) => void run.cancel({ reason }).catch(() => undefined);
  const onTerminal = process.stdin.isTTY && process.stderr.isTTY;
  let askedAt = -Infinity;
  let keys: ((chunk: Buffer) => void) | undefined;

  const stopKeys = () => {
    if (!keys) return;
    process.stdin.off('data', keys).setRawMode(false).pause();
    keys = undefined;
  };
  const interrupt = () => {
    if (!onTerminal) return cancel('interrupted by SIGINT');
    const now = performance.now();
    if (now - askedAt < TWICE_WITHIN) {
      stopKeys();
      cancel('cancelled with Ctrl-C');
      return;
    }
    askedAt = now;
    say('sendall: Ctrl-C again to cancel the command, d to detach and let it run');
    if (keys) return;
    keys = (chunk) => {
      for (const byte of chunk) {
        if (byte === 3) interrupt();
        else if (byte === 0x64 || byte === 0x44) {
          stopKeys();
          chooseDetach();
        }
      }
    };
    process.stdin.setRawMode(true).resume().on('data', keys);
    setTimeout(stopKeys, TWICE_WITHIN).unref();
  };
  const terminate = () => cancel('ended by SIGTERM');
  const hangUp = () => chooseDetach();
  process.on('SIGINT', interrupt).on('SIGTERM', terminate).on('SIGHUP', hangUp);
  return {
    detached,
    off: () => {
      stopKeys();
      process.off('SIGINT', interrupt).off('SIGTERM', terminate).off('SIGHUP', hangUp);
    },
  };
}
