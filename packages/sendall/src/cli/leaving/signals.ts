/**
 * Signals as the parent meant them: one that was ignored at our start (nohup, `trap ''`, a script's `&`) stays ignored.
 */
import { started } from '../../started.js';

/**
 * Signals that would end or stop us. Not SIGTTIN and SIGTTOU: a terminal sends them endlessly to a process that catches
 * them.
 */
const HARMFUL: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
  'SIGTSTP',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGXCPU',
];

/** Ignores them again, as Node has reset them to their defaults. Call it first. */
export function keepIgnored(): void {
  const { ignored } = started();
  for (const signal of HARMFUL) if (ignored.has(signal)) process.on(signal, () => undefined);
}

/** Like process.on, but leaves ignored signals alone. Returns the function that unsubscribes. */
export function onSignal(signal: NodeJS.Signals, handler: () => void): () => void {
  if (started().ignored.has(signal)) return () => undefined;
  process.on(signal, handler);
  return () => void process.off(signal, handler);
}
