/** The line on a terminal about many hosts: counts, who is late, and its width. */
import { expect, test } from 'vitest';
import type { HostStatus, Progress } from 'sendall';
import { fleetLine } from '../../dist/cli/show/fleet/fleet-line.js';

const name = (i: number) => `web${String(i).padStart(3, '0')}`;

/** Two hundred hosts: most have ended after a second, some run, one has no link, some wait. */
function watched(lateBy = 8000) {
  const states = new Map<string, HostStatus>();
  for (let i = 1; i <= 187; i++)
    states.set(name(i), { state: 'exited', outcome: i > 2 ? 'ok' : 'failed', begun: 0, since: 1000 });
  for (const i of [188, 190]) states.set(name(i), { state: 'running', begun: 10_000 - lateBy, since: 10_000 - lateBy });
  states.set(name(191), { state: 'running', begun: 0, since: 0 });
  states.set(name(189), { state: 'connecting', begun: 1000, since: 1000 });
  for (const i of [192, 193]) states.set(name(i), { state: 'running', begun: 9500, since: 9900 });
  for (let i = 194; i <= 200; i++) states.set(name(i), { state: 'waiting', since: 0 });
  const progress: Progress = {
    total: 200,
    started: 193,
    running: 6,
    ok: 185,
    failed: 2,
    states: { exited: 187, running: 5, connecting: 1, waiting: 7 },
  };
  return { states, progress, isLinked: (host: string) => host !== name(191) };
}

test('names who is late, folded by state, and counts the others', () => {
  expect(fleetLine(watched(), 10_000, 200)).toBe(
    'sendall: 187 of 200 ended, 2 failed; late: web[188,190] (running 8 s), web191 (no link), web189 (connecting); 2 running, 7 waiting',
  );
});

test('keeps to the width, and shortens the names before the counts', () => {
  for (let columns = 20; columns < 140; columns++) {
    const line = fleetLine(watched(), 10_000, columns);
    expect(line.length).toBeLessThanOrEqual(columns);
    if (columns > 90) expect(line).toMatch(/ended, 2 failed; late: web.*(\.\.\.|\)); 2 running, 7 waiting$/);
  }
});

test('names no host while none has ended: all may take their time', () => {
  const states = new Map<string, HostStatus>([
    ['a', { state: 'running', begun: 0, since: 0 }],
    ['b', { state: 'waiting', since: 0 }],
  ]);
  const progress: Progress = { total: 2, started: 1, running: 1, ok: 0, failed: 0, states: { running: 1, waiting: 1 } };
  expect(fleetLine({ states, progress, isLinked: () => true }, 60_000, 80)).toBe(
    'sendall: 0 of 2 ended, 0 failed; 1 running, 1 waiting',
  );
});
