import { spawn } from 'node:child_process';
import type { Server } from 'node:net';
import { acceptAsOurs } from '../node-internals.js';

/**
 * Threads share one table of descriptors, and two that poll and close the same number bring the process down. So
 * each worker needs a number of its own for the one listening socket. Node has no dup(2), but it has a way to send a
 * server between processes, and what arrives is a new descriptor: a helper process gets the socket as its descriptor 3,
 * sends it back, and ends in the same tick, so that it never accepts anything itself.
 */
const helper = `
  const server = require('node:net').createServer();
  server.listen({ fd: 3 }, () => process.send('server', server, () => process.exit()));
`;

/** A second descriptor for the listening socket `fd`, as a server that nobody listens to yet. */
export function duplicateListener(fd: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', helper], { stdio: ['ignore', 'ignore', 'pipe', fd, 'ipc'] });
    let said = '';
    let server: Server | undefined;
    child.stderr!.on('data', (text: Buffer) => (said += text.toString().slice(0, 1000)));
    child.once('message', (_message, handle) => {
      server = handle as Server;
      acceptAsOurs(server);
    });
    child.once('error', reject);
    child.once('close', (code) => {
      if (server !== undefined) resolve(server);
      else reject(new Error(`the helper that duplicates a descriptor ended with ${code}: ${said}`));
    });
  });
}
