import { spawn } from 'node:child_process';
import type { Server } from 'node:net';
import { acceptAsOurs } from '../node-internals.js';

/**
 * Threads share one table of descriptors, and two that poll and close the same number bring the process down. So
 * each worker needs a number of its own for the one listening socket. Where koffi is missing there is no dup(2), but
 * Node has a way to send a server between processes, and what arrives is a new descriptor: a helper process gets the
 * socket as its descriptor 3, sends it back, and ends in the same tick, so that it never accepts anything itself.
 */
const helper = `
  const server = require('node:net').createServer();
  server.listen({ fd: 3, backlog: Number(process.argv[1]) }, () => {
    process.send('server', server);
    process.exit();
  });
`;

/**
 * Gives `adopt` a server with a second descriptor for the listening socket `fd`, whose queue in the kernel then holds
 * `backlog` connections. It accepts from the moment it is
 * here, so `adopt` has to listen to it at once.
 */
export function duplicateListener(fd: number, backlog: number, adopt: (server: Server) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', helper, String(backlog)], {
      stdio: ['ignore', 'ignore', 'pipe', fd, 'ipc'],
    });
    let said = '';
    let arrived = false;
    child.stderr!.on('data', (text: Buffer) => (said += text.toString().slice(0, 1000)));
    child.once('message', (_message, handle) => {
      arrived = true;
      acceptAsOurs(handle as Server);
      adopt(handle as Server);
    });
    child.once('error', reject);
    child.once('close', (code) => {
      if (arrived) resolve();
      else reject(new Error(`the helper that duplicates a descriptor ended with ${code}: ${said}`));
    });
  });
}
