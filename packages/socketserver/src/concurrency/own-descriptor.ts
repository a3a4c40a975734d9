/** A second descriptor for a listening socket, without dup(2). */
import { spawn } from 'node:child_process';
import type { ReceivedHandle } from '../node-internals.js';

/**
 * Threads share one table of descriptors, and two that poll and close the same number bring the process down. So
 * each worker needs a number of its own for the one listening socket. Where koffi is missing there is no dup(2), but
 * Node has a way to send a server between processes, and what arrives is a new descriptor: a helper process gets the
 * socket as its descriptor 3, sends it back, and ends in the same tick, so that it never accepts anything itself.
 *
 * It sends the bare handle. A `net.Server` that is sent becomes one again where it arrives, and that one opens the
 * number of a Unix socket a second time (see `listenOnHandle`).
 */
const HELPER = `
  const server = require('node:net').createServer();
  server.listen({ fd: 3, backlog: Number(process.argv[1]) }, () => {
    process.send('listener', server._handle);
    process.exit();
  });
`;

/**
 * Resolves, when the helper has gone, with a second descriptor for the listening socket `fd`, whose queue in the kernel
 * then holds `backlog` connections.
 */
export function duplicateListener(fd: number, backlog: number): Promise<ReceivedHandle> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', HELPER, String(backlog)], {
      stdio: ['ignore', 'ignore', 'pipe', fd, 'ipc'],
    });
    let said = '';
    let received: ReceivedHandle | undefined;
    child.stderr!.on('data', (text: Buffer) => (said += text.toString().slice(0, 1000)));
    child.once('message', (_message, handle) => (received = handle as unknown as ReceivedHandle));
    // Left alone it would hold the address for a while after the server has closed.
    const end = (): void => void child.kill('SIGKILL');
    process.once('exit', end);
    child.once('error', reject);
    child.once('close', (code) => {
      process.off('exit', end);
      if (received !== undefined) resolve(received);
      else reject(new Error(`the helper that duplicates a descriptor ended with ${code}: ${said}`));
    });
  });
}
