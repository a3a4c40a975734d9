/** `-W HOST:PORT`: our stdin and stdout as a connection from the host, as ssh's ProxyCommand wants one. */
import type { Host, Result, Run, RunOptions } from '../../index.js';
import { FAILED } from './failed.js';
import type { Voice } from './voice.js';

/** Connects from the host as the run's user. No variable of ours goes along. */
export function forwardFrom(host: Host, target: string, options: RunOptions): Run {
  // A connection without input is one whose input has ended.
  const stdin = options.stdin === 'none' ? new Uint8Array() : options.stdin;
  return host.forward(target, { ...options, env: [], stdin });
}

/** 0 when both directions have ended; why there was no connection stands on stderr already. */
export function forwardCode({ outcome, host, reason }: Result, voice: Voice, readerLeft: boolean): number {
  if (outcome === 'ok') return 0;
  if (outcome !== 'failed' && !readerLeft) voice.fail(`${host}: ${reason}`);
  return FAILED;
}
