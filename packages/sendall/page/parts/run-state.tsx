/** How a run stands, from what its host lists and what the history keeps. */
import type { EventOf, Value } from '../../dist/console/messages.js';
import { stateWord, t } from '../frame/words.js';
import { State, type Shape, type Tone } from './state.js';

export type Listing = Extract<EventOf<'runs'>, { event: 'runs' }>['runs'][number];
export type PastRun = Value<'history'>['runs'][number];

export interface Standing {
  readonly shape: Shape;
  readonly tone: Tone;
  readonly text: string;
  /** It may still write and can be killed. */
  readonly isLive: boolean;
}

const LIVE: Readonly<Record<string, readonly [Shape, Tone]>> = {
  queued: ['waiting', 'idle'],
  waiting: ['waiting', 'idle'],
  connecting: ['waiting', 'idle'],
  starting: ['running', 'busy'],
  running: ['running', 'busy'],
  left: ['running', 'busy'],
};
const ENDS: Readonly<Record<string, readonly [Shape, Tone]>> = {
  ok: ['done', 'good'],
  failed: ['failed', 'bad'],
  signalled: ['failed', 'bad'],
  cancelled: ['stopped', 'idle'],
  neverStarted: ['stopped', 'idle'],
  expired: ['stopped', 'idle'],
  lost: ['lost', 'warn'],
  unreachable: ['lost', 'bad'],
};

/** A state or an outcome as shape, tone and word. */
export function standingOf(
  state: string,
  end: { code?: number | undefined; signal?: string | undefined } = {},
): Standing {
  const live = LIVE[state];
  if (live) return { shape: live[0], tone: live[1], text: stateWord('s', state), isLive: true };
  const [shape, tone] = ENDS[state] ?? ['warning', 'warn'];
  return { shape, tone, text: endText(state, end), isLive: false };
}

function endText(
  outcome: string,
  { code, signal }: { code?: number | undefined; signal?: string | undefined },
): string {
  if (outcome === 'failed') return code === undefined ? t('s_failedPlain') : t('s_failed', { code });
  if (outcome === 'signalled') return signal === undefined ? t('s_signalledPlain') : t('s_signalled', { signal });
  return stateWord('s', outcome);
}

/** Of a run as its host lists it. */
export function standingOfListing({ state, code, signal, cause, blocked }: Listing): Standing {
  if (blocked !== undefined && state === 'running')
    return { shape: 'warning', tone: 'warn', text: t(blocked === 'disk' ? 's_full' : 's_blocked'), isLive: true };
  if (state !== 'exited' && state !== 'ended') return standingOf(state, { code, signal });
  // The cause says that the host ended it, and why: timeout, idle, cancelled, limits.
  if (cause !== undefined && cause !== 'exit' && cause !== 'signal' && stateWord('s', cause) !== cause)
    return standingOf(cause, { code, signal });
  return standingOf(signal === undefined ? (code === 0 ? 'ok' : 'failed') : 'signalled', { code, signal });
}

/** Of a run in the history: the state of its one host, or of its caller. */
export function standingOfPast({ counts, stage }: PastRun): Standing {
  const states = Object.keys(counts);
  if (states.length === 1) return standingOf(states[0]!);
  if (stage === 'running') return standingOf('running');
  if (stage === 'left') return standingOf('left');
  if (counts.running || counts.waiting) return standingOf('lost');
  return { ...standingOf('failed'), text: t('s_failedPlain') };
}

export function StandingView({ standing: { shape, tone, text } }: { standing: Standing }) {
  return (
    <State shape={shape} tone={tone}>
      {text}
    </State>
  );
}
