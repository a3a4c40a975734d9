/** Whether SO_REUSEPORT can be had. */
import { createServer, type AddressInfo, type Server } from 'node:net';

let known: Promise<boolean> | undefined;

/** Whether this Node can listen with SO_REUSEPORT (from 22.12 on, where the system can): tried, not looked up. */
export function canReusePort(): Promise<boolean> {
  known ??= tryIt();
  return known;
}

async function tryIt(): Promise<boolean> {
  const first = createServer();
  const second = createServer();
  try {
    await listen(first, 0);
    await listen(second, (first.address() as AddressInfo).port);
    return true;
  } catch {
    return false;
  } finally {
    first.close();
    second.close();
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port, reusePort: true } as object, resolve);
  });
}
