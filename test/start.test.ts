import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { removeHome } from '../packages/sendall/test/remove-home.js';

const root = fileURLToPath(new URL('..', import.meta.url));

test('npm start runs one real command, prints the next step, and ends cleanly on SIGTERM to its group', async () => {
  const home = mkdtempSync(join(tmpdir(), 'sendall-start-'));
  const start = spawn(process.execPath, ['scripts/start.js'], {
    cwd: root,
    detached: true,
    env: { ...process.env, SENDALL_HOME: home },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  for await (const line of createInterface({ input: start.stdout })) {
    lines.push(line);
    if (line.startsWith('ready ')) break;
  }
  expect(lines.at(-1)).toMatch(/^ready .*: npx sendall run local -- uname -a$/);
  expect(lines.some((line) => line.startsWith('Linux') || line.startsWith('Darwin'))).toBe(true);
  process.kill(-start.pid!, 'SIGTERM');
  const [code] = (await once(start, 'exit')) as [number];
  expect(code).toBe(0);
  expect(existsSync(join(home, 'agent.sock'))).toBe(false);
  await removeHome(home, 0);
});
