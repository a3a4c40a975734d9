/** Shared by the tests of exactness: fleets that end with the test, digests, events. */
import { createHash } from 'node:crypto';
import { onTestFinished, vi } from 'vitest';
import { testHosts, type Host, type RunEvent, type Run, type TestFleet, type TestHostsOptions } from 'sendall';

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A fleet that is closed when the test ends. */
export async function fleetOf(n: number, options: TestHostsOptions = {}): Promise<TestFleet> {
  const fleet = await testHosts(n, options);
  onTestFinished(() => fleet.close());
  return fleet;
}

/** One host and its fleet. */
export async function oneHost(options: TestHostsOptions = {}): Promise<{ fleet: TestFleet; host: Host }> {
  const fleet = await fleetOf(1, options);
  return { fleet, host: fleet.hosts[0]! };
}

/** Records a run's events in the background. */
export function watch(run: Run): { seen: RunEvent[]; stdout: () => Buffer; over: Promise<void> } {
  const seen: RunEvent[] = [];
  const over = (async () => {
    for await (const event of run.events()) seen.push(event);
  })();
  const stdout = (): Buffer =>
    Buffer.concat(
      seen.flatMap((event) => (event.event === 'output' && event.stream === 'stdout' ? [event.bytes] : [])),
    );
  return { seen, stdout, over };
}

/** Puts this process's steady clock forward, until the test ends. Its timers do not notice. */
export function passTime(ms: number): void {
  const now = performance.now.bind(performance);
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + ms);
  onTestFinished(() => clock.mockRestore());
}
