/** The commands of `wirelab`, in the order in which the help shows them. */
import type { Command } from './command.js';

/**
 * Loaded when called, so that `wirelab --help` does not wait for the page's server, and so that a process that may open few
 * files can say so: what `main.ts` imports by itself cannot fail in a sentence of ours.
 */
export const commands: Readonly<Record<string, () => Promise<{ command: Command }>>> = {
  show: () => import('./commands/show.js'),
  serve: () => import('./commands/serve.js'),
  call: () => import('./commands/call.js'),
  chat: () => import('./commands/chat.js'),
  inspect: () => import('./commands/inspect.js'),
  chaos: () => import('./commands/chaos.js'),
  probe: () => import('./commands/probe.js'),
  replay: () => import('./commands/replay.js'),
  page: () => import('./commands/page.js'),
  completion: () => import('./commands/completion.js'),
};

export const allCommands = (): Promise<readonly Command[]> =>
  Promise.all(Object.values(commands).map(async (load) => (await load()).command));
