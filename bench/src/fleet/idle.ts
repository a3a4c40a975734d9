/** Memory of kept links: what each host that is linked and idle takes in the process of its caller, over TLS. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { median, type Row } from '../exec/figures.js';
import { envOf, openSite } from '../exec/site.js';
import type { Held } from './idle-caller.js';

/** Links before the first measured one: code is compiled and caches are filled by then. */
const FIRST = 50;
const COUNTS = [200, 1000];
/** Bytes allowed for a host. */
const ALLOWED = 60 * 1024;
const KIB = 1024;

const kib = (figures: number[]) => `${Math.round(median(figures) / KIB)} KiB`;

/** Rows for the resident set; prints what it consists of. */
export async function keptIdle(rounds: number): Promise<Row[]> {
  const program = fileURLToPath(new URL('idle-caller.js', import.meta.url));
  const site = await openSite();
  try {
    const figures = COUNTS.map(() => ({ rss: [] as number[], heap: [] as number[], reserved: [] as number[] }));
    for (let round = 0; round < rounds; round++) {
      const words = ['--expose-gc', program, 'web1', ...[FIRST, ...COUNTS.map((count) => FIRST + count)].map(String)];
      const { stdout } = await promisify(execFile)(process.execPath, words, { env: envOf(site.near) });
      const [before, ...later] = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Held);
      for (const [i, held] of later.entries())
        for (const kind of ['rss', 'heap', 'reserved'] as const)
          figures[i][kind].push((held[kind] - before[kind]) / (held.links - before.links));
    }
    return COUNTS.map((count, i) => {
      const { rss, heap, reserved } = figures[i];
      console.log(
        `${count} kept idle hosts: ${kib(rss)} of memory each, ${kib(heap)} of it JavaScript's; ${kib(reserved)} reserved`,
      );
      return {
        name: `idle-${count}`,
        what: `${count} kept idle hosts: memory of the caller for each`,
        want: '<=',
        bar: 1,
        ratio: median(rss) / ALLOWED,
        ratios: rss.map((each) => each / ALLOWED),
        ours: median(rss) / KIB,
        peer: ALLOWED / KIB,
        unit: 'KiB',
      };
    });
  } finally {
    await site.close();
  }
}
