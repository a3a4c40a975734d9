/** Signals as they were meant: one that was ignored when we were started (nohup, `trap ''`, a script's `&`) stays so. */
import { started } from '../../started.js';

/** Those that would end or stop us. Not SIGTTIN and SIGTTOU: a terminal asks a process that catches them for ever. */
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

/** Node has made them deadly again. Called before anything else happens. */
export function keepIgnored(): void {
  const { ignored } = started();
  for (const signal of HARMFUL) if (ignored.has(signal)) process.on(signal, () => undefined);
}

/** As process.on, but not for what has to stay ignored. Returns what ends it. */
export function onSignal(signal: NodeJS.Signals, handler: () => void): () => void {
  if (started().ignored.has(signal)) return () => undefined;
  process.on(signal, handler);
  return () => void process.off(signal, handler);
}
