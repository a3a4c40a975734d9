/** Prints the hosts on which a command would start, batch by batch. */
import { NodeSet, type RolloutPlan } from '../../index.js';
import type { Arguments } from '../words/command.js';
import { answer, json, table } from './print.js';

export async function printPlan({ batches, window, maxFail }: RolloutPlan, args: Arguments): Promise<void> {
  const total = batches.reduce((sum, hosts) => sum + hosts.length, 0);
  if (args.on('json')) {
    for (const [i, hosts] of batches.entries()) json({ event: 'batch', batch: i + 1, hosts });
    json({ event: 'plan', total, batches: batches.length, window, ...(maxFail === undefined ? {} : { maxFail }) });
    return;
  }
  const rows = batches.map((hosts, i) => [String(i + 1), String(hosts.length), new NodeSet(hosts).toString()]);
  await table([['BATCH', 'HOSTS', 'NAMES'], ...rows]);
  if (args.on('quiet')) return;
  const limit = maxFail === undefined ? '' : `; stops when ${maxFail + 1} ${maxFail ? 'have' : 'has'} failed`;
  const what = `${count(total, 'host')} in ${count(batches.length, 'batch', 'es')}`;
  answer(`${what}, at most ${window} at a time${limit}; nothing was run`);
}

const count = (number: number, noun: string, plural = 's') => `${number} ${noun}${number === 1 ? '' : plural}`;
