/** One link on the agent's side, from its first byte to its caller's name. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { AgentSession, type SessionServices } from '../../dist/agent/session.js';
import type { Link, LinkHandlers } from '../../dist/link/link.js';
import { PROTOCOL_VERSION, type Message } from '../../dist/protocol/messages.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const HELLO = { type: 'HELLO', alias: 0, protoMin: PROTOCOL_VERSION, protoMax: PROTOCOL_VERSION, features: [] };
const AUTH = { type: 'AUTH', alias: 0, method: 'local' };

/** A session on a link that only remembers, and how the link ended. */
function begin(authTimeout: number): { handlers: LinkHandlers; ends: string[] } {
  const ends: string[] = [];
  let handlers: LinkHandlers | undefined;
  const link = {
    start: (given: LinkHandlers) => void (handlers = given),
    fail: ({ message }: Error) => void ends.push(message),
    send: () => undefined,
    trust: () => undefined,
    pauseReading: () => undefined,
  } as unknown as Link;
  const services = {
    limits: { authTimeout },
    identify: () => ({ name: 'owner', roles: ['owner'] }),
    gate: { open: () => new Promise(() => undefined) },
  } as unknown as SessionServices;
  void new AgentSession(link, { kind: 'local' }, services);
  return { handlers: handlers!, ends };
}

test('an agent that stood still for longer than it waits for a caller reads first what that caller has sent', () => {
  const { handlers, ends } = begin(1000);
  // The read comes behind the timer in the same turn of the event loop.
  setTimeout(() => {
    for (const message of [HELLO, AUTH]) handlers.message(message as unknown as Message);
  }, 1000);
  vi.advanceTimersByTime(5000);
  expect(ends).toEqual([]);
});

test('a caller that says nothing is not waited for', () => {
  const { ends } = begin(1000);
  vi.advanceTimersByTime(999);
  expect(ends).toEqual([]);
  // And the reads of that turn.
  vi.advanceTimersByTime(1 + 1);
  expect(ends).toEqual(['no valid HELLO and AUTH came in time']);
});
