import { setTimeout as sleep } from 'node:timers/promises';
import type { Socket } from 'node:net';
import type { Address } from './address.js';
import { reach } from './historical/client.js';
import type { ProxyEvent } from './proxy.js';
import { reads } from './reads.js';

/** How long answers may still take when the last recorded byte has been sent. */
const lastAnswersMs = 2000;

/**
 * Sends what the clients of a record sent to a server again: the same bytes, cut and timed as their reads were. What
 * the server says now is told beside it.
 *
 * @param speed 2 is twice as fast as it was
 */
export async function replayTo(
  address: Address,
  events: AsyncIterable<{ readonly event: ProxyEvent; readonly atMs: number }>,
  speed: number,
  onEvent: (event: ProxyEvent, atMs: number) => void,
): Promise<void> {
  const begun = performance.now();
  const now = () => performance.now() - begun;
  const sockets = new Map<number, Socket>();
  const listening: Promise<void>[] = [];
  const counts = new Map<number, { up: number; down: number }>();
  for await (const { event, atMs } of events) {
    if (!('connection' in event) || (event.type !== 'open' && !('direction' in event && event.direction === 'up')))
      continue;
    const wait = atMs / speed - now();
    if (wait > 0) await sleep(wait);
    const { connection } = event;
    if (event.type === 'open') {
      const socket = await reach(address);
      socket.on('error', () => {});
      sockets.set(connection, socket);
      counts.set(connection, { up: 0, down: 0 });
      onEvent(event, now());
      listening.push(listen(socket, connection));
    } else if (event.type === 'read') {
      sockets.get(connection)?.write(event.bytes);
      counts.get(connection)!.up += event.bytes.length;
      onEvent(event, now());
    } else if (event.type === 'end') {
      sockets.get(connection)?.end();
      onEvent(event, now());
    }
  }
  await Promise.race([Promise.all(listening), sleep(lastAnswersMs, undefined, { ref: false })]);
  for (const socket of sockets.values()) socket.destroy();
  await Promise.all(listening);

  async function listen(socket: Socket, connection: number): Promise<void> {
    const count = counts.get(connection)!;
    let failure: string | undefined;
    try {
      for await (const bytes of reads(socket)) {
        count.down += bytes.length;
        onEvent({ type: 'read', connection, direction: 'down', bytes }, now());
      }
    } catch (error) {
      failure = (error as NodeJS.ErrnoException).code ?? String(error);
    }
    onEvent({ type: 'close', connection, ...count, ...(failure !== undefined && { error: failure }) }, now());
  }
}
