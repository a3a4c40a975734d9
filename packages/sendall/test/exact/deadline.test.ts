/** A deadline runs from the call to the result: the host ends the command by itself, and an unknown end is lost. */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { newRunId, type Host, type Run, type RunListing, type RunOptions, type TestFleet } from 'sendall';
import { until, within } from '../../../../test/support/waits.js';
import { watchDeadline } from '../../dist/client/run/deadline.js';
import { oneHost } from './support.js';

const FOREVER = ['sleep', '600'];

/** A run that its host has started before its deadline, which is as soon as the machine allows, and `isFit` then. */
async function overdue(
  host: Host,
  options: RunOptions = {},
  isFit: (run: Run) => Promise<boolean> = async () => true,
): Promise<{ run: Run }> {
  for (let deadline = 500; ; deadline *= 2) {
    const run = host.run(FOREVER, { ...options, deadline, reject: false });
    const hasStarted = await run.started.then(
      () => true,
      () => false,
    );
    // A run is a promise of its result.
    if (hasStarted && (await isFit(run))) return { run };
  }
}

/** Makes the host unreachable, and waits until its caller has noticed. */
async function unplugged(fleet: TestFleet, run: Run): Promise<void> {
  await run.started;
  fleet.unplug(true);
  await until(() => !run.linked, 'the loss of the link');
}

/** What the host knows of a run. */
async function listed(host: Host, runId: string): Promise<RunListing | undefined> {
  for await (const run of host.runs({ all: true })) if (run.runId === runId) return run;
  return undefined;
}

test('the host ends a command that outlasts it, and the outcome is timeout', async () => {
  const { host } = await oneHost();
  const { run } = await overdue(host);
  const result = await run;
  expect(result).toMatchObject({ outcome: 'timeout', reason: expect.stringContaining('its deadline has passed') });
  const early = await host.run(FOREVER, { deadline: '10m', timeout: 100, reject: false });
  expect(early).toMatchObject({ outcome: 'timeout', reason: expect.stringContaining('it ran for 100 ms') });
  expect((await host.run(['true'], { deadline: '30d' })).ok).toBe(true);
  expect((await host.run(['true'], { deadline: 0 })).ok).toBe(true);
});

test('the host ends it also when its caller has left', async () => {
  const { host } = await oneHost();
  const { run } = await overdue(host);
  await run.detach();
  await until(async () => (await listed(host, run.runId))?.cause === 'timeout', 'the end of the run');
});

test('an id that exists is attached to, whatever is left of the deadline', async () => {
  const { host } = await oneHost();
  const runId = newRunId();
  const first = await host.sh('echo $$', { runId, deadline: '1m' });
  const again = await host.sh('echo $$', { runId, deadline: '2m' });
  expect(again.stdout).toBe(first.stdout);
});

describe('without a link', () => {
  test('a run that was not sent is unreachable at its deadline, and does not start later', async () => {
    // Between two dials, the run waits.
    const { fleet, host } = await oneHost({ firstPause: '1h' });
    await unplugged(fleet, host.run(FOREVER, { reject: false }));
    const result = await within(host.run(['true'], { deadline: 50, reject: false }), 'the deadline');
    expect(result).toMatchObject({ outcome: 'unreachable', reason: expect.stringMatching(/^its deadline has passed/) });
    fleet.unplug(false);
    await host.run(['true']);
    expect(await listed(host, result.runId)).toBeUndefined();
  });

  test.each(['aborted', 'cancelled'])('a run that was %s before it was sent does not start later', async (how) => {
    const { fleet, host } = await oneHost({ firstPause: '1h' });
    await unplugged(fleet, host.run(FOREVER, { reject: false }));
    const abort = new AbortController();
    const run = host.run(['true'], { signal: abort.signal, reject: false });
    // By now it waits for the next link.
    await new Promise((resolve) => setImmediate(resolve));
    if (how === 'aborted') abort.abort();
    else await within(run.cancel(), 'the end of the cancelling');
    const reason = `${how} by the caller before it was sent`;
    expect(await within(run, 'its end')).toMatchObject({ outcome: 'cancelled', reason });
    fleet.unplug(false);
    await host.run(['true']);
    expect(await listed(host, run.runId)).toBeUndefined();
  });

  test('a run whose end cannot be learned is lost, never a timeout', async () => {
    const { fleet, host } = await oneHost({ giveUpAfter: '10m' });
    const { run } = await overdue(host, { killGrace: 0 }, async (each) => {
      fleet.unplug(true);
      await until(() => !each.linked || each.state !== 'running', 'the loss of the link');
      if (each.state === 'running') return true;
      // Its end has come before.
      fleet.unplug(false);
      return false;
    });
    const result = await within(run, 'the end of the wait');
    expect(result).toMatchObject({ outcome: 'lost', reason: expect.stringMatching(/^its deadline has passed, and/) });
    fleet.unplug(false);
    const heir = await fleet.connect(0);
    await until(async () => (await listed(heir, run.runId))?.cause === 'timeout', 'the end of the run');
  });
});

test('an end that came while the process stood still is read before the run is given up', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const said: string[] = [];
  const stop = watchDeadline(performance.now(), 0, {
    passed: () => said.push('passed'),
    unheard: () => said.push('unheard'),
    unknown: () => said.push('unknown'),
  });
  // As after a pause of the whole process: the loop reads behind the timers.
  const read = new Promise<void>((resolve) => setImmediate(() => (stop(), resolve())));
  vi.advanceTimersByTime(60_000);
  await read;
  await new Promise((resolve) => setImmediate(resolve));
  expect(said).toEqual(['passed', 'unheard']);
});
