/** A signal for `sendall ssh` that comes while it is still loading what joins the terminals. */
import { expect, test, vi } from 'vitest';
import type { Host } from '../../src/index.js';
import type { Call } from '../../src/cli/ssh/call.js';
import { runCall } from '../../src/cli/ssh/session.js';
import type { Voice } from '../../src/cli/ssh/voice.js';

const host = {
  accountShell: () => {
    throw new Error('the command was started');
  },
} as unknown as Host;
vi.mock('node:tty', async (original) => ({ ...(await original<typeof import('node:tty')>()), isatty: () => true }));
vi.mock('../../src/cli/terminal/foreground.js', () => ({ isInForeground: () => true }));
vi.mock('../../src/cli/terminal/own-terminal.js', () => ({
  ownTerminal: () => ({ cols: 80, rows: 24, term: 'xterm' }),
}));
vi.mock('../../src/cli/hosts/reach.js', () => ({
  AT_A_TERMINAL: {},
  shareOf: () => ({}),
  wishesOf: () => ({}),
  reach: async () => host,
}));
vi.mock('../../src/cli/show/waiting.js', () => ({ showWaiting: () => () => undefined }));
vi.mock('../../src/cli/runs/terminal.js', () => {
  process.emit('SIGTERM', 'SIGTERM');
  return { converse: async () => 0 };
});

test('ends it, and no command is started', async () => {
  const said: string[] = [];
  const voice = { verbose: false, fail: (why: string) => said.push(why), note: () => {}, tell: () => {} };
  const call = {
    action: 'run',
    host: 'local',
    subsystem: false,
    readsStdin: true,
    escapeKey: undefined,
    quiet: false,
    verbose: false,
    setEnv: [],
    sendEnv: [],
    shares: true,
    command: [],
  } as const satisfies Call;
  expect(await runCall(call, voice as unknown as Voice)).toBe(255);
  expect(said).toEqual(['ended by SIGTERM']);
});
