import { formatAddress, parseAddress } from '../../address.js';
import { faults, type FaultOptions } from '../../faults/index.js';
import { startProxy, type ProxyEvent } from '../../proxy.js';
import { checked, integer, number, parse, UsageError, type Command } from '../command.js';
import { interrupted, print, say } from '../output.js';

const mostMs = 3_600_000;
const mostBytes = Number.MAX_SAFE_INTEGER;

export const command: Command = {
  summary: 'a proxy that does to bytes what networks do',
  help: `wirelab chaos --listen ADDR --to ADDR [faults] [--seed N]

Passes bytes between clients and a server and does to them, in each direction:

  --slice N           writes of at most N bytes
  --coalesce MS       everything within MS ms glued into one write
  --latency MS        MS ms later          --jitter MS     up to MS ms more, by chance
  --throttle B/s      so many bytes a second at most
  --corrupt P         one bit of a byte flipped with probability P (0 to 1)
  --stall MS          a pause of MS ms after the first byte, and again every 4 KiB or so
  --cut-every BYTES   each connection cut when BYTES have passed in one direction
  --reset-after BYTES the same with a reset (RST)
  --half-close        the server sees the end after the client's first piece, and may still answer
  --seed N            where chance comes from: the same seed does the same at the same bytes; default: a random one

The order of bytes is kept, and only --corrupt alters any. With no fault it passes them as they are.

example: wirelab chaos --listen 7000 --to 127.0.0.1:8080 --slice 1 --jitter 5 --seed 42`,
  async run(words) {
    const { values } = parse({
      args: words,
      options: {
        listen: { type: 'string' },
        to: { type: 'string' },
        slice: { type: 'string' },
        coalesce: { type: 'string' },
        latency: { type: 'string' },
        jitter: { type: 'string' },
        throttle: { type: 'string' },
        corrupt: { type: 'string' },
        stall: { type: 'string' },
        'cut-every': { type: 'string' },
        'reset-after': { type: 'string' },
        'half-close': { type: 'boolean' },
        seed: { type: 'string' },
      },
    });
    const { listen, to } = values;
    if (listen === undefined || to === undefined) throw new UsageError('chaos takes --listen ADDR and --to ADDR');
    const options: FaultOptions = {
      slice: integer('slice', values.slice, 1, mostBytes),
      coalesce: number('coalesce', values.coalesce, 0, mostMs),
      latency: number('latency', values.latency, 0, mostMs),
      jitter: number('jitter', values.jitter, 0, mostMs),
      throttle: integer('throttle', values.throttle, 1, mostBytes),
      corrupt: number('corrupt', values.corrupt, 0, 1),
      stall: number('stall', values.stall, 0, mostMs),
      cutEvery: integer('cut-every', values['cut-every'], 1, mostBytes),
      resetAfter: integer('reset-after', values['reset-after'], 1, mostBytes),
      halfClose: values['half-close'],
    };
    const seed = integer('seed', values.seed, 0, 2 ** 32 - 1) ?? Math.floor(Math.random() * 2 ** 32);
    const chosen = faults(options);
    const proxy = await startProxy({
      listen: checked(() => parseAddress(listen)),
      to: checked(() => parseAddress(to)),
      faults: chosen,
      seed,
      onEvent: (event) => {
        const line = describe(event);
        if (line !== undefined) say(line);
      },
    });
    const stopped = interrupted();
    for (const fault of chosen) say(`${fault.name}: ${fault.description.en}`);
    say(`seed ${seed}`);
    await print(`listening ${formatAddress(proxy.address)}`);
    const code = await stopped;
    await proxy.close();
    return code;
  },
};

function describe(event: ProxyEvent): string | undefined {
  switch (event.type) {
    case 'open':
      return `#${event.connection} opened by ${event.client}`;
    case 'fault':
      return `#${event.connection} ${event.direction} ${event.what} at byte ${event.afterBytes}`;
    case 'close': {
      const error = event.error === undefined ? '' : ` (${event.error})`;
      return `#${event.connection} closed after ${event.up} bytes there and ${event.down} back${error}`;
    }
    case 'refused':
      return `${event.client} refused: ${event.reason}`;
    default:
      return undefined;
  }
}
