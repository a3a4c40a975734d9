/** `wirelab chaos`: a proxy with faults. */
import { formatAddress, parseAddress } from '../../address.js';
import { faults, type FaultOptions } from '../../faults/index.js';
import { startProxy, type ProxyEvent } from '../../proxy/proxy.js';
import { checked, under, UsageError, type Command } from '../command.js';
import { interrupted, print, say } from '../output.js';

const MOST_MS = 3_600_000;
const MOST_BYTES = Number.MAX_SAFE_INTEGER;

export const command: Command = {
  name: 'chaos',
  usage: ['--listen ADDR --to ADDR [faults] [--seed N]'],
  summary: 'a proxy that does to bytes what networks do',
  about: [
    'Passes bytes between clients and a server and applies the chosen faults in each direction. It keeps the order of',
    'bytes, and only --corrupt alters them. Without faults it passes bytes as they are. ADDR is HOST:PORT, PORT',
    '(127.0.0.1) or unix:PATH.',
  ],
  examples: ['wirelab chaos --listen 7000 --to 127.0.0.1:8080 --slice 1 --jitter 5 --seed 42'],
  options: {
    ...under('The two ends', {
      listen: { value: 'ADDR', help: 'the address for clients' },
      to: { value: 'ADDR', help: 'the server' },
    }),
    ...under('Faults', {
      slice: { value: 'N', help: 'writes of at most N bytes' },
      coalesce: { value: 'MS', help: 'everything within MS ms glued into one write' },
      latency: { value: 'MS', help: 'a delay of MS ms' },
      jitter: { value: 'MS', help: 'a random delay of up to MS ms more' },
      throttle: { value: 'B/s', help: 'at most this many bytes a second' },
      corrupt: { value: 'P', help: 'one bit of a byte flipped with probability P (0 to 1)' },
      stall: { value: 'MS', help: 'a pause of MS ms after the first byte, and again every 4 KiB or so' },
      'cut-every': { value: 'BYTES', help: 'each connection cut when BYTES have passed in one direction' },
      'reset-after': { value: 'BYTES', help: 'the same with a reset (RST)' },
      'half-close': { help: "the server sees the end after the client's first piece, and may still answer" },
    }),
    seed: {
      value: 'N',
      help: 'the seed of all chance: the same seed does the same at the same bytes; default: a random one',
    },
  },
  async run(args) {
    const [listen, to] = ['listen', 'to'].map((name) => args.text(name));
    if (args.words.length > 0) throw new UsageError(`chaos takes options only, not "${args.words[0]}"`);
    if (listen === undefined || to === undefined) throw new UsageError('chaos takes --listen ADDR and --to ADDR');
    const options: FaultOptions = {
      slice: args.integer('slice', 1, MOST_BYTES),
      coalesce: args.number('coalesce', 0, MOST_MS),
      latency: args.number('latency', 0, MOST_MS),
      jitter: args.number('jitter', 0, MOST_MS),
      throttle: args.integer('throttle', 1, MOST_BYTES),
      corrupt: args.number('corrupt', 0, 1),
      stall: args.number('stall', 0, MOST_MS),
      cutEvery: args.integer('cut-every', 1, MOST_BYTES),
      resetAfter: args.integer('reset-after', 1, MOST_BYTES),
      halfClose: args.on('half-close'),
    };
    const seed = args.integer('seed', 0, 2 ** 32 - 1) ?? Math.floor(Math.random() * 2 ** 32);
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
