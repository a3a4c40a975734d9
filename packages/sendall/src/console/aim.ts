/** The hosts that a request of the page means. */
import { UsageError } from '../errors.js';
import { fleet, type Fleet } from '../index.js';
import { resolveTargets, selectHosts } from '../internal.js';
import { historyOf, hostsOf, type Context } from './context.js';
import type { Asked } from './messages.js';

type Aim = Pick<Asked<'run'>, 'targets' | 'only'>;

const ADDRESS = /^(tls|unix|nats):[^,!&^\s]*$/;
const NAME = /^[\p{L}\p{N}._-]+$/u;

/** The names of the hosts, in order. @throws UsageError when the set is wrong or names none. */
export function aimAt({ targets, only }: Aim, context: Context): readonly string[] {
  const all = isOneHost(targets) ? [targets] : [...resolveTargets(targets, hostsOf(context))];
  if (only === undefined) return all;
  const chosen = selectHosts(only, historyOf(context));
  const names = all.filter((name) => chosen.has(name));
  if (!names.length) throw new UsageError(`${only} names none of these hosts`);
  return names;
}

/** One host by its own name or address: a run, and not a fleet of one. */
export const isOneHost = (targets: string): boolean =>
  ADDRESS.test(targets) || (targets !== 'all' && NAME.test(targets));

/** @throws UsageError for an unknown name. */
export const fleetOf = (names: readonly string[], { connectOptions }: Context): Fleet => fleet(names, connectOptions);
