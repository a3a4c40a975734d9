/** Prints the hosts on which a command would start, batch by batch. */
import { AllHosts, NodeSet, resolveHome, type RolloutPlan } from '../../../index.js';
import type { Arguments } from '../../words/command.js';
import { answer, json, table } from '../print.js';

export async function printPlan({ batches, canary, window, maxFail }: RolloutPlan, args: Arguments): Promise<void> {
  const total = batches.reduce((sum, hosts) => sum + hosts.length, 0);
  const strangers = batches.flat().filter(hasUnknownKey);
  const isCanary = (batch: number) => canary !== undefined && batch === 0;
  if (args.on('json')) {
    for (const [i, hosts] of batches.entries())
      json({ event: 'batch', batch: i + 1, ...(isCanary(i) ? { canary: true } : {}), hosts });
    json({
      event: 'plan',
      total,
      batches: batches.length,
      canary,
      window,
      maxFail,
      unknownKeys: strangers.length ? strangers : undefined,
    });
    return;
  }
  const rows = batches.map((hosts, i) => [
    isCanary(i) ? 'canary' : String(i + 1),
    String(hosts.length),
    new NodeSet(hosts).toString(),
  ]);
  await table([['BATCH', 'HOSTS', 'NAMES'], ...rows]);
  for (const url of strangers) answer(`the key of ${url} is not known here, so this host would be refused`);
  if (args.on('quiet')) return;
  const limits = [
    ...(canary === undefined ? [] : ['a canary is not ok']),
    ...(maxFail === undefined ? [] : [`${maxFail + 1} ${maxFail ? 'have' : 'has'} failed`]),
  ];
  const limit = limits.length ? `; stops when ${limits.join(' or ')}` : '';
  const what = `${count(total, 'host')} in ${count(batches.length, 'batch', 'es')}`;
  answer(`${what}, at most ${window} at a time${limit}; nothing was run`);
}

/** A run would not even dial it. */
function hasUnknownKey(target: string): boolean {
  return /^(tls|nats):/.test(target) && AllHosts.of(resolveHome()).at(target) === undefined;
}

const count = (number: number, noun: string, plural = 's') => `${number} ${noun}${number === 1 ? '' : plural}`;
