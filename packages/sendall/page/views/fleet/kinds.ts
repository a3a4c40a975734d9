/** How the kinds of hosts look and what they are called. */
import { t, type WordName } from '../../frame/words.js';
import type { Shape, Tone } from '../../parts/state.js';
import type { HostChange, Kind } from './hosts.js';
import { stateWord } from '../../frame/words.js';

export const LOOKS: Readonly<Record<Kind, { readonly shape: Shape; readonly tone: Tone; readonly word: WordName }>> = {
  ok: { shape: 'done', tone: 'good', word: 'kind_ok' },
  failed: { shape: 'failed', tone: 'bad', word: 'kind_failed' },
  stopped: { shape: 'stopped', tone: 'warn', word: 'kind_stopped' },
  unclear: { shape: 'warning', tone: 'warn', word: 'kind_unclear' },
  running: { shape: 'running', tone: 'busy', word: 'kind_running' },
  starting: { shape: 'waiting', tone: 'busy', word: 'kind_starting' },
  waiting: { shape: 'waiting', tone: 'idle', word: 'kind_waiting' },
  never: { shape: 'stopped', tone: 'idle', word: 'kind_never' },
};

/** How a command or its host has ended, or where it stands. */
export function endWord({
  state,
  outcome = state,
  code,
  signal,
}: Pick<HostChange, 'state' | 'outcome' | 'code'> & { readonly signal?: string | undefined }): string {
  const what = state === 'exited' ? outcome : state;
  if (what === 'failed') return code === undefined ? t('s_failedPlain') : t('s_failed', { code });
  if (what === 'signalled') return signal ?? t('s_signalledPlain');
  return stateWord('s', what);
}
