/** The commands of `wirelab`, in the order of the help. */
import type { Command } from './command.js';

/**
 * Loaded on demand, so that `wirelab --help` does not wait for the page's server, and a process that may open only few
 * files can report it: static imports of `main.ts` fail before our code could.
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
