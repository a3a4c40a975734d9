/** How a command's end becomes an exit code: its own, or 255 and a sentence for everything else. */
import type { Result } from '../../index.js';
import { FAILED } from './failed.js';
import type { Voice } from './voice.js';

/** The exit code. A signal is none, as for ssh: what a shell makes of one is its own code. */
export function codeOf(result: Result, voice: Voice): number {
  const { outcome, code, host, reason } = result;
  if ((outcome === 'ok' || outcome === 'failed') && code !== undefined) {
    voice.tell(`${host}: ${reason}`);
    return code;
  }
  voice.fail(`${host}: ${reason}`);
  return FAILED;
}
