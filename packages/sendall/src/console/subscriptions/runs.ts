/** The runs of some hosts, whenever they change. */
import { SendallError } from '../../errors.js';
import { aimAt } from '../aim.js';
import type { Context } from '../context.js';
import { failureOf } from '../failures.js';
import { listRuns } from '../operations/runs.js';
import type { Subscription } from '../subscription.js';
import { pause, type Feed } from './feed.js';

/** Milliseconds between two looks at a host, and at one that does not answer. */
const LOOK_MS = 1000;
const LATER_MS = 5000;

export const runs: Feed<'runs'> = async ({ targets = 'local', all = false }, sub, context) => {
  const names = aimAt({ targets }, context);
  const most = context.limits.listedHosts;
  if (names.length > most)
    throw new SendallError(
      'LIMIT',
      `these are ${names.length} hosts, and runs are listed of at most ${most} (listedHosts)`,
    );
  const begin = async () => {
    await Promise.all(names.map(async (name) => await follow(name, all, sub, context)));
  };
  return { value: {}, begin };
};

async function follow(name: string, all: boolean, sub: Subscription<'runs'>, context: Context): Promise<void> {
  let told = '';
  while (!sub.over) {
    let wait = LOOK_MS;
    let event: Parameters<typeof sub.event>[0];
    try {
      const { runs: listed, cut } = await listRuns(name, { all, limit: context.limits.listedRuns }, context);
      event = { event: 'runs', host: name, runs: listed, cut };
    } catch (error) {
      event = { event: 'silent', host: name, ...failureOf(error) };
      wait = LATER_MS;
    }
    const text = JSON.stringify(event);
    if (text !== told) await sub.event(event);
    told = text;
    await pause(wait, sub.signal);
  }
}
