/**
 * Signals and descriptors as the parent set them. Node resets ignored signals and opens closed descriptors before our
 * code runs, so the lines of sh in `bin/` look first and pass on what they saw. When started as `node FILE`, we know
 * nothing and use what Node gives us.
 */
import { constants } from 'node:os';

const VARIABLE = 'SENDALL_START';

/** Signals that would end or stop us. */
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
  /** Signals that were ignored and must stay so. */
  readonly ignored: ReadonlySet<NodeJS.Signals>;
  /** Which of the descriptors 0, 1 and 2 were closed. */
  readonly closed: ReadonlySet<number>;
}

/** Parses `closed=FD sigign=HEX`; parts it does not understand count as unknown. */
export function readStart(text: string): Start {
  const words = text.split(' ');
  const mask = /^sigign=([\da-f]{1,16})$/i.exec(words.find((word) => word.startsWith('sigign=')) ?? '')?.[1] ?? '0';
  const isIgnored = (signal: NodeJS.Signals) => (BigInt(`0x${mask}`) >> BigInt(constants.signals[signal] - 1)) & 1n;
  const ignored = new Set<NodeJS.Signals>(HARMFUL.filter(isIgnored));
  // When sh is bash, it ignores SIGQUIT by itself; a shell that ignores it for `&` ignores SIGINT too.
  if (!ignored.has('SIGINT')) ignored.delete('SIGQUIT');
  return {
    ignored,
    closed: new Set(words.flatMap((word) => /^closed=([012])$/.exec(word)?.[1] ?? []).map(Number)),
  };
}

const start = readStart(process.env[VARIABLE] ?? '');
// Commands run by `serve` must not see it.
delete process.env[VARIABLE];

/** The descriptors among 0, 1 and 2 that were closed at our start. */
export const { closed } = start;

/** Ignores them again, as Node has reset them. Call it first. */
export function keepIgnored(): void {
  for (const signal of start.ignored) process.on(signal, () => undefined);
}

/** Like process.once, but leaves ignored signals alone. */
export function onceSignal(signal: NodeJS.Signals, handler: () => void): void {
  if (!start.ignored.has(signal)) process.once(signal, handler);
}

/** The exit code after a signal, as in shells. */
export function codeOf(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}
