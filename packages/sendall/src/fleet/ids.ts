/** The run ids of one command on many hosts. */
import type { Inventory } from '../client/inventory.js';
import { newRunId } from '../client/options/options.js';

/**
 * Run ids by host. All share one, so that it names the whole. A machine with two names here would take the second
 * command for a repeat of the first, so the second name gets another id.
 */
export function idsFor(names: readonly string[], runId: string, inventory: Inventory): Map<string, string> {
  const ids = new Map<string, string>();
  const machines = new Set<string>();
  for (const name of names) {
    const host = name.startsWith('tls:') ? inventory.at(name) : inventory.get(name);
    const machine = host?.pin ?? host?.url ?? name;
    ids.set(name, machines.has(machine) ? newRunId() : runId);
    machines.add(machine);
  }
  return ids;
}
