/**
 * A caller that keeps links to a host, each with a run behind it, and does nothing more. Arguments: the host's name, and
 * how many links there are at each measurement. Prints its memory at each as a line of JSON; needs --expose-gc.
 */
import { setTimeout as rest } from 'node:timers/promises';
import { connect, type Host } from 'sendall';

/** What this process holds, in bytes. */
export interface Held {
  readonly links: number;
  /** Resident set. */
  readonly rss: number;
  /** JavaScript's objects. */
  readonly heap: number;
  /** Memory for reads, reserved by the objects: the pages that were never written to take no memory. */
  readonly reserved: number;
}

/** Links that are made at the same time. */
const AT_ONCE = 20;

const [name = '', ...counts] = process.argv.slice(2);
const hosts: Host[] = [];

async function add(): Promise<void> {
  const host = await connect(name);
  await host.run(['/bin/true']);
  hosts.push(host);
}

for (const links of counts.map(Number)) {
  while (hosts.length < links)
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, links - hosts.length) }, () => add()));
  // Timers and answers of the last runs are over.
  await rest(500);
  for (let i = 0; i < 4; i++) globalThis.gc?.();
  const { rss, heapUsed: heap, external: reserved } = process.memoryUsage();
  console.log(JSON.stringify({ links, rss, heap, reserved } satisfies Held));
}
process.exit();
