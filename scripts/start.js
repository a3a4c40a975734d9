/**
 * npm start: runs an agent for this user in the foreground and one real command through it, and prints the next step.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const sendall = fileURLToPath(new URL('../packages/sendall/bin/sendall.js', import.meta.url));
const agent = spawn(process.execPath, [sendall, 'agent'], { stdio: ['ignore', 'inherit', 'pipe'] });
const ended = new Promise((resolve) => agent.once('exit', (code, signal) => resolve({ code, signal })));

let stopping = false;
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
  process.on(signal, () => {
    stopping = true;
    agent.kill('SIGTERM');
  });

let tried = false;
createInterface({ input: agent.stderr }).on('line', (line) => {
  console.error(line);
  if (tried || !line.startsWith('listening unix:')) return;
  tried = true;
  console.log('$ sendall run local -- uname -a');
  const run = spawnSync(process.execPath, [sendall, 'run', 'local', '-n', '--', 'uname', '-a'], { stdio: 'inherit' });
  if (run.status === 0)
    console.log('ready until Ctrl-C; in another terminal, in this folder: npx sendall run local -- uname -a');
  else if (!stopping) {
    console.error(`the first command failed with code ${run.status}`);
    agent.kill('SIGTERM');
  }
});

const { code } = await ended;
process.exit(stopping ? 0 : (code ?? 1));
