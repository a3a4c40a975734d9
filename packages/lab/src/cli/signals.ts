/**
 * Signals as they were meant, and closed descriptors. Node makes ignored signals deadly again and opens what was closed,
 * before our code runs: the lines of sh in `bin/` look first and hand on what they saw. Started as `node FILE` nothing is
 * known, and all is as Node makes it.
 */
import { constants } from 'node:os';

const VARIABLE = 'SENDALL_START';

/** Those that would end or stop us. */
const HARMFUL = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGTSTP',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGXCPU',
] as const;

export interface Start {
  /** Signals that were ignored, and have to stay so. */
  readonly ignored: ReadonlySet<NodeJS.Signals>;
  /** Which of the descriptors 0, 1 and 2 were closed. */
  readonly closed: ReadonlySet<number>;
}

/** Takes `closed=FD sigign=HEX` apart; what it does not understand is not known. */
export function readStart(text: string): Start {
  const words = text.split(' ');
  const mask = /^sigign=([\da-f]{1,16})$/i.exec(words.find((word) => word.startsWith('sigign=')) ?? '')?.[1] ?? '0';
  const isIgnored = (signal: NodeJS.Signals) => (BigInt(`0x${mask}`) >> BigInt(constants.signals[signal] - 1)) & 1n;
  const ignored = new Set<NodeJS.Signals>(HARMFUL.filter(isIgnored));
  // A sh that is bash ignores SIGQUIT by itself; a shell that ignores it for `&` ignores SIGINT too.
  if (!ignored.has('SIGINT')) ignored.delete('SIGQUIT');
  return {
    ignored,
    closed: new Set(words.flatMap((word) => /^closed=([012])$/.exec(word)?.[1] ?? []).map(Number)),
  };
}

const start = readStart(process.env[VARIABLE] ?? '');
// The commands that `serve` runs do not get to see it.
delete process.env[VARIABLE];

/** Which of the descriptors 0, 1 and 2 were closed when we started. */
export const { closed } = start;

/** Called before anything else happens. */
export function keepIgnored(): void {
  for (const signal of start.ignored) process.on(signal, () => undefined);
}

/** As process.once, but not for what has to stay ignored. */
export function onceSignal(signal: NodeJS.Signals, handler: () => void): void {
  if (!start.ignored.has(signal)) process.once(signal, handler);
}

/** The exit code after a signal, as shells have it. */
export function codeOf(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}
