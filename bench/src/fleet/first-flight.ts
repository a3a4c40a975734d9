/**
 * A first command over a new link: sent in one flight with our name (`early`), against a caller that waits until the host
 * has let it in. Over TLS through a proxy that delays each direction by 50 ms, by itself and through a warm-links process
 * that has no link to the host yet, and over the local Unix socket.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { connect, resolveHome, type Home } from 'sendall';
import { openWarmLinks } from '../../../packages/sendall/dist/internal.js';
import { median, type Row } from '../exec/figures.js';
import { openSite, sendall } from '../exec/site.js';

/** Milliseconds of one direction. */
const DELAY = 50;
/** Links in a row over the local socket: one alone is too short to compare. */
const LOCAL = 40;

/** Milliseconds for a link, one `true` on it, and its result. */
async function first(target: string, home: Home, early: boolean, share?: () => void) {
  const start = performance.now();
  const host = await connect(target, { home, early, ...(share ? { share } : {}) });
  const { ok } = await host.run(['/bin/true']);
  const took = performance.now() - start;
  await host.close();
  if (!ok) throw new Error('true failed');
  return took;
}

/** The same through a warm-links process that has just begun. */
async function firstShared(target: string, home: Home, early: boolean) {
  const warm = await openWarmLinks(home);
  const took = await first(target, home, early, () => undefined);
  await warm.close();
  return took;
}

async function inTurns(rounds: number, take: (early: boolean) => Promise<number>) {
  const [ours, peer]: [number[], number[]] = [[], []];
  // The first round warms up.
  for (let round = 0; round <= rounds; round++)
    for (const [early, figures] of [
      [true, ours],
      [false, peer],
    ] as const) {
      const took = await take(early);
      if (round) figures.push(took);
    }
  return { ours, peer };
}

function rowOf(name: string, what: string, bar: number, { ours, peer }: { ours: number[]; peer: number[] }): Row {
  const ratios = ours.map((each, i) => each / (peer[i] ?? Number.NaN));
  const figures = { ratio: median(ratios), ratios, ours: median(ours), peer: median(peer), unit: 'ms' };
  return { name, what, want: '<=', bar, ...figures };
}

export async function firstFlights(rounds: number): Promise<Row[]> {
  const site = await openSite();
  const program = fileURLToPath(new URL('../exec/delay.js', import.meta.url));
  const proxy = fork(program, [/:(\d+)$/.exec(site.url)?.[1] ?? '', `${DELAY}`], { execArgv: [] });
  try {
    const [port] = (await once(proxy, 'message')) as [number];
    await sendall(site.near, 'hosts', 'add', 'slow', `tls://127.0.0.1:${port}`, '--pin', site.fingerprint);
    const home = resolveHome({ SENDALL_HOME: site.near });
    const far = await inTurns(rounds, (early) => first('slow', home, early));
    // The fastest, as the machine may have been busy during the others.
    const trips = (figures: number[]) => (Math.min(...figures) / (2 * DELAY)).toFixed(2);
    console.log(
      `round trips of ${2 * DELAY} ms to the result, beside TCP's own: ${trips(far.ours)} in one flight, ${trips(far.peer)} otherwise`,
    );
    const shared = await inTurns(rounds, (early) => firstShared('slow', home, early));
    console.log(`through a warm-links process: ${trips(shared.ours)} in one flight, ${trips(shared.peer)} otherwise`);
    const local = await inTurns(rounds, async (early) => {
      let sum = 0;
      for (let link = 0; link < LOCAL; link++) sum += await first('local', home, early);
      return sum / LOCAL;
    });
    return [
      rowOf('flight-tls', 'a cold TLS link and `true` at 100 ms, against waiting for AUTH_OK', 0.8, far),
      rowOf('flight-shared', 'the same through a warm-links process without a link', 0.8, shared),
      rowOf('flight-local', 'the same over the local socket', 1.2, local),
    ];
  } finally {
    proxy.disconnect();
    await site.close();
  }
}
