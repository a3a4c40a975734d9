/** Signals by name and number, real-time ones too. Source: signal(7); names as bash and kill(1) show them. */
import { constants } from 'node:os';

export const HIGHEST_SIGNAL = 64;
/** The first that libc leaves to programs; those between 31 and this one are its own. */
const RTMIN = 34;
/** From here on they are counted down from the last. */
const CLOSER_TO_MAX = 50;

const NUMBERS = new Map(Object.entries(constants.signals));
// Some have two names. The first is the usual one.
const NAMES = new Map([...NUMBERS].toReversed().map(([name, number]) => [number, name]));

/** "SIGTERM", "SIGRTMIN+3", or "SIG33" for one without a name. */
export function signalName(signal: number): string {
  const name = NAMES.get(signal);
  if (name !== undefined) return name;
  if (signal < RTMIN || signal > HIGHEST_SIGNAL) return `SIG${signal}`;
  const [from, distance] =
    signal < CLOSER_TO_MAX ? ['SIGRTMIN', signal - RTMIN] : ['SIGRTMAX', signal - HIGHEST_SIGNAL];
  return distance === 0 ? from : `${from}${distance > 0 ? '+' : ''}${distance}`;
}

/** The number of "SIGTERM", "term", "RTMIN+3", "SIGRTMAX-1", "15" or "SIG15"; undefined when there is no such signal. */
export function signalNumber(signal: string): number | undefined {
  const text = signal.toUpperCase().replace(/^SIG/, '');
  const named = NUMBERS.get(`SIG${text}`);
  if (named !== undefined) return named;
  const [, from, distance] = /^RT(MIN|MAX)([+-]\d+)?$/.exec(text) ?? [];
  const [number, lowest] =
    from === undefined
      ? [/^\d+$/.test(text) ? Number(text) : NaN, 1]
      : [(from === 'MIN' ? RTMIN : HIGHEST_SIGNAL) + Number(distance ?? 0), RTMIN];
  return number >= lowest && number <= HIGHEST_SIGNAL ? number : undefined;
}
