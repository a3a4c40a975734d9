/** The list of hosts as it changes, and the state of some of them. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SendallError } from '../../errors.js';
import { aimAt } from '../aim.js';
import type { Context } from '../context.js';
import { askEach } from '../each.js';
import { failureOf } from '../failures.js';
import { listHosts } from '../operations/hosts.js';
import type { Subscription } from '../subscription.js';
import { pause, type Feed } from './feed.js';

/** Milliseconds between two looks at the files. */
const LOOK_MS = 2000;
/** Milliseconds between two questions to a host. */
const ASK_MS = 30_000;

export const hosts: Feed<'hosts'> = async ({ watch, list: withList = true }, sub, context) => {
  const names = watch === undefined ? [] : aimAt({ targets: watch }, context);
  const most = context.limits.watchedHosts;
  if (names.length > most)
    throw new SendallError('LIMIT', `these are ${names.length} hosts, and at most ${most} are watched (watchedHosts)`);
  const begin = async () => {
    await Promise.all([withList ? list(sub, context) : undefined, states(names, sub, context)]);
  };
  return { value: {}, begin };
};

async function list(sub: Subscription<'hosts'>, context: Context): Promise<void> {
  for (let before: string | undefined; !sub.over; await pause(LOOK_MS, sub.signal)) {
    const now = stampOf(context);
    if (now !== before) await sub.event({ event: 'hosts', ...listHosts(context) });
    before = now;
  }
}

/** When the files with hosts were changed. */
function stampOf({ home }: Context): string {
  const when = (path: string): string => {
    try {
      const { mtimeMs, size, ino } = statSync(path);
      return `${mtimeMs} ${size} ${ino}`;
    } catch {
      return '-';
    }
  };
  let files: string[] = [];
  try {
    files = readdirSync(home.hostsFolder).map((name) => join(home.hostsFolder, name));
  } catch {
    // There is none.
  }
  return [home.hostsFile, ...files].map((path) => `${path} ${when(path)}`).join('\n');
}

async function states(names: readonly string[], sub: Subscription<'hosts'>, context: Context): Promise<void> {
  for (; names.length && !sub.over; await pause(ASK_MS, sub.signal))
    await askEach(
      names,
      (name) => name,
      async (name) => {
        if (!sub.over) await sub.event({ event: 'host', ...(await stateOf(name, context)) });
      },
    );
}

type State = { host: string; state: 'up' | 'unreachable' | 'refused' } & Partial<{
  rttMs: number;
  version: string;
  principal: string;
  roles: string[];
  reason: string;
}>;

async function stateOf(name: string, { links }: Context): Promise<State> {
  try {
    return await links.ask(name, async (host) => {
      await host.ready;
      const { rttMs } = await host.ping();
      const { version, principal, roles } = host.info;
      return { host: name, state: 'up', rttMs, version, principal, roles: [...roles] };
    });
  } catch (error) {
    const { code, message } = failureOf(error);
    const isRefused = ['REFUSED', 'KEY_CHANGED', 'USAGE'].includes(code);
    return { host: name, state: isRefused ? 'refused' : 'unreachable', reason: message };
  }
}
