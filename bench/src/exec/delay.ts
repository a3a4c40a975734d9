/**
 * A TCP proxy that delays: every byte leaves `ms` after its arrival, in both directions, without a limit on the rate.
 * Arguments: the port to connect to, and the delay of one direction in milliseconds.
 */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

const [port, ms] = process.argv.slice(2).map(Number);
/** Bytes in transit in one direction; far above what 100 ms hold at the speeds measured here. */
const MOST = 256 * 1024 * 1024;

function delay(from: Socket, to: Socket) {
  let waiting: { at: number; chunk?: Uint8Array }[] = [];
  let held = 0;
  let timer = false;
  const pass = () => {
    timer = false;
    const now = performance.now();
    let ready = 0;
    to.cork();
    while (ready < waiting.length && waiting[ready].at <= now) {
      const { chunk } = waiting[ready++];
      if (chunk) {
        held -= chunk.length;
        to.write(chunk);
      } else to.end();
    }
    to.uncork();
    waiting = waiting.slice(ready);
    if (held < MOST) from.resume();
    arm();
  };
  const arm = () => {
    if (timer || !waiting.length) return;
    timer = true;
    setTimeout(pass, Math.max(waiting[0].at - performance.now(), 1));
  };
  from.on('data', (chunk) => {
    waiting.push({ at: performance.now() + ms, chunk });
    held += chunk.length;
    if (held >= MOST) from.pause();
    arm();
  });
  from.on('end', () => {
    waiting.push({ at: performance.now() + ms });
    arm();
  });
  from.on('error', () => to.destroy());
  from.on('close', () => setTimeout(() => to.destroy(), 2 * ms));
}

const server = createServer({ noDelay: true, allowHalfOpen: true, highWaterMark: 1024 * 1024 }, (near) => {
  const far = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
  delay(near, far);
  delay(far, near);
});
server.listen(0, '127.0.0.1', () => {
  process.send?.((server.address() as AddressInfo).port);
});
process.on('disconnect', () => process.exit());
