/** How a command's end becomes an exit code: its own, or 255 and a sentence for everything else. */
import type { Result } from '../../index.js';
import { FAILED } from './failed.js';
import type { Voice } from './voice.js';

/** The exit code. A signal is none, as for ssh: what a shell makes of one is its own code. `readerLeft`: of our stdout. */
export function codeOf(result: Result, voice: Voice, readerLeft = false): number {
  const { outcome, code, signal, host, reason } = result;
  if ((outcome === 'ok' || outcome === 'failed') && code !== undefined) {
    voice.tell(`${host}: ${reason}`);
    return code;
  }
  // Such as `sendall-ssh web1 yes | head`.
  if (!(readerLeft && signal === 'SIGPIPE')) voice.fail(`${host}: ${reason}`);
  return FAILED;
}
