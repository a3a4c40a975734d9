/** The choice of hosts by how an earlier run left them: `--only`. */
import { UsageError } from '../../errors.js';
import type { NodeSet } from '../../index.js';
import { selectHosts } from '../../internal.js';
import { history } from '../hosts/history.js';
import type { Arguments } from '../words/command.js';

/**
 * The hosts that `--only` leaves.
 * @throws UsageError when none is left.
 */
export function onlyOf(args: Arguments, targets: string, named: NodeSet): string[] {
  const words = args.texts('only');
  const chosen = new Set(words.flatMap((word) => [...selectHosts(word, history())]));
  const hosts = [...named].filter((host) => chosen.has(host));
  if (!hosts.length) throw new UsageError(`no host of ${targets} is among ${words.join(' or ')}: nothing was run`);
  return hosts;
}
