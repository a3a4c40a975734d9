/**
 * The bare peer for output: reads one command line per connection, runs it and pipes its output into the TLS socket.
 * Loopback only.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:tls';
import type { AddressInfo } from 'node:net';

const [key, cert] = process.argv.slice(2).map((file) => readFileSync(file));
const server = createServer({ key, cert, minVersion: 'TLSv1.3', noDelay: true }, (socket) => {
  socket.once('data', (line) => {
    const child = spawn('/bin/sh', ['-c', String(line).trim()], { stdio: ['ignore', 'pipe', 'inherit'] });
    child.stdout.pipe(socket);
  });
  socket.on('error', () => socket.destroy());
});
server.listen(0, '127.0.0.1', () => {
  process.send?.((server.address() as AddressInfo).port);
});
process.on('disconnect', () => process.exit());
