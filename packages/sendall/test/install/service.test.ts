/** The end of an installation's agent and keeper while a command is just beginning. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import type { AgentStatus } from 'sendall';
import { Layout, type Installation } from '../../src/cli/install/layout.js';
import { serviceOf } from '../../src/cli/install/service.js';
import { Machine } from '../cli/support.js';

/** What happens between an agent's word that no command runs and its end. */
let meanwhile: () => void = () => undefined;
vi.mock('../../src/cli/hosts/agent-process.js', async (original) => {
  const actual: typeof import('../../src/cli/hosts/agent-process.js') = await original();
  return {
    ...actual,
    stopAgent: async (options: { runs: boolean }): Promise<AgentStatus> => {
      const said = await actual.agentStatus();
      meanwhile();
      await actual.stopAgent(options);
      return said!;
    },
  };
});
afterEach(() => void vi.unstubAllEnvs());

test('the keeper goes on for it', async () => {
  await using machine = await Machine.start();
  const { user } = machine;
  vi.stubEnv('SENDALL_HOME', user.home);
  const go = join(user.home, 'go');
  meanwhile = () => {
    const script = `until test -e ${go}; do sleep 0.05; done; exit 7`;
    expect(user.call(['run', '-d', '--name', 'just', 'local', '--', 'sh', '-c', script]).code).toBe(0);
  };
  const service = serviceOf(new Layout(user.home), { service: 'background' } as Installation);
  expect(await service.remove({ runs: false })).toBe(false);
  await machine.startAgent();
  writeFileSync(go, '');
  expect(user.call(['wait', 'just']).code).toBe(7);
});

test('without one, the keeper ends', async () => {
  await using machine = await Machine.start();
  vi.stubEnv('SENDALL_HOME', machine.user.home);
  meanwhile = () => undefined;
  const service = serviceOf(new Layout(machine.user.home), { service: 'background' } as Installation);
  expect(await service.remove({ runs: false })).toBe(true);
});
