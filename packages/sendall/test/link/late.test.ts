/** A caller that stood still while it dialled: what the host answered in time is read before the time counts as over. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { dial } from '../../dist/link/dial.js';
import { greet } from '../../dist/link/handshake.js';
import type { Link, LinkHandlers } from '../../dist/link/link.js';
import type { Message } from '../../dist/protocol/messages.js';

const { setTimeout: later } = globalThis;
afterEach(() => void vi.useRealTimers());

/** The first words on a link that only passes on what the agent says. */
function greeted(): { said: ReturnType<typeof greet>; handlers: LinkHandlers } {
  let handlers: LinkHandlers | undefined;
  const link = {
    stream: {},
    start: (given: LinkHandlers) => void (handlers = given),
    send: () => undefined,
    trust: () => undefined,
    hold: () => undefined,
    destroy: () => undefined,
  } as unknown as Link;
  const said = greet(link, { method: 'local', name: 'test', timeoutMs: 1000 });
  said.catch(() => undefined);
  return { said, handlers: handlers! };
}

test('it hears who it is to the host', async () => {
  vi.useFakeTimers();
  const { said, handlers } = greeted();
  // The read comes behind the timer in the same turn of the event loop.
  setTimeout(() => {
    for (const type of ['HELLO_OK', 'AUTH_OK'])
      handlers.message({ type, alias: 0, features: [], clockMs: 7 } as unknown as Message);
  }, 1000);
  vi.advanceTimersByTime(5000);
  expect((await said).clockMs).toBe(7);
});

test('it waits no longer for a host that says nothing', async () => {
  vi.useFakeTimers();
  const { said } = greeted();
  vi.advanceTimersByTime(5000);
  await expect(said).rejects.toThrow('the agent did not answer within 1000 ms');
});

test('it has the connection', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sendall-late-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'agent.sock');
  const server = createServer((socket) => socket.resume());
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => new Promise<void>((resolve) => void server.close(() => resolve())));
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const dialled = await new Promise<Link>((resolve, reject) =>
    // Among the timers of one turn; the reading comes next.
    later(() => {
      dial(`unix:${path}`, { timeoutMs: 1000 }).then(resolve, reject);
      vi.advanceTimersByTime(5000);
    }, 1),
  );
  expect(dialled.stream.destroyed).toBe(false);
  dialled.destroy();
});
