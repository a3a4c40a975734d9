/** A browser that leaves before its download has begun. */
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { Ahead } from '../../src/console/ahead.js';
import type { Lease, Links } from '../../src/console/links.js';
import { sendOutput } from '../../src/console/tickets.js';

test('its run is not joined: nothing would tell of the end of one that is silent', async () => {
  const response = Object.assign(new EventEmitter(), { destroyed: false });
  let dialled!: (lease: Lease) => void;
  const links = { use: () => new Promise((resolve) => (dialled = resolve)) } as unknown as Links;
  const download = { host: 'web1', runId: 'id', stream: 'stdout', name: 'file', isWatched: false } as const;
  const sending = { links, ahead: new Ahead(0), limits: { downloadPause: 0 } };
  const sent = sendOutput(download, sending, response as unknown as ServerResponse);
  response.destroyed = true;
  response.emit('close');
  let isLeft = false;
  const attach = () => {
    throw new Error('it was joined');
  };
  dialled({ host: { attach }, [Symbol.dispose]: () => void (isLeft = true) } as unknown as Lease);
  await sent;
  expect(isLeft).toBe(true);
});
