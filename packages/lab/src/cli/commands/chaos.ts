/** `wirelab chaos`: proxies with faults, which may change while they run. */
import { readFileSync } from 'node:fs';
import { parseAddress } from '../../address.js';
import { readProxyFile, readProxyWord } from '../../control/described.js';
import { Proxies, PROXY_LIMITS, type ProxyRequest } from '../../control/proxies.js';
import { REQUEST_BYTES, serveControl } from '../../control/server.js';
import { faultsOf, toxicsOf } from '../../control/toxics.js';
import { describeFaults, type DirectedFaultOptions } from '../../faults/index.js';
import { FAULT_VALUES, readFaults } from '../../faults/values.js';
import type { ProxyEvent } from '../../proxy/proxy.js';
import { Recorder } from '../../proxy/record.js';
import { formatAddress } from '../../address.js';
import { checked, under, UsageError, type Arguments, type Command } from '../command.js';
import { limitOptionOf, limitsOf } from '../limits.js';
import { interrupted, print, say } from '../output.js';

/** The name of a proxy that needs none. */
const ALONE = 'proxy';

const limits = {
  connections: { meaning: 'connections of a proxy at once', value: PROXY_LIMITS.connections },
  proxies: { meaning: 'proxies', value: PROXY_LIMITS.proxies },
  toxics: { meaning: 'toxics of a proxy', value: PROXY_LIMITS.toxics },
  requestBytes: { meaning: 'bytes of a request to the control socket', value: REQUEST_BYTES },
} as const;

export const command: Command = {
  name: 'chaos',
  usage: [
    '--listen ADDR --to ADDR [faults] [--up FAULTS] [--down FAULTS] [--seed N] [--record FILE] [--control ADDR]',
    'NAME=LISTEN,TO[,FAULTS][,seed=N][,record=FILE]… [faults] [--config FILE] [--control ADDR]',
  ],
  summary: 'a proxy that does to bytes what networks do',
  about: [
    'Passes bytes between clients and a server and applies the chosen faults in each direction. It keeps the order of',
    'bytes, and only --corrupt alters them. Without faults it passes bytes as they are. ADDR is HOST:PORT, PORT',
    '(127.0.0.1) or unix:PATH.',
    '',
    'FAULTS are faults of one direction, as in --up latency=100,slice=3: there they take the place of those of both. "off"',
    'takes one away. Several proxies have names, and each its own faults, seed and record: "up." and "down." stand before',
    'a fault of one direction, as in web=8081,127.0.0.1:8080,latency=20,down.slice=3.',
    '',
    'With --control the proxies change while they run, over JSON in the shape of toxiproxy’s HTTP API: GET and POST',
    '/proxies, /proxies/NAME, /proxies/NAME/toxics, POST /populate and /reset. It is on 127.0.0.1:PORT, for this user’s',
    'processes only, or on unix:PATH.',
  ],
  examples: [
    'wirelab chaos --listen 7000 --to 127.0.0.1:8080 --slice 1 --jitter 5 --seed 42',
    'wirelab chaos --listen 7000 --to 127.0.0.1:8080 --up latency=200 --down throttle=2000',
    'wirelab chaos web=8081,127.0.0.1:8080,latency=20 db=6432,127.0.0.1:5432,down.slice=3 --control 127.0.0.1:8474',
  ],
  options: {
    ...under('The two ends', {
      listen: { value: 'ADDR', help: 'the address for clients' },
      to: { value: 'ADDR', help: 'the server' },
    }),
    ...under('Several proxies', {
      config: {
        value: 'FILE',
        help: 'a JSON list of proxies as toxiproxy has it: name, listen, upstream, toxics; also seed and record',
        complete: 'file',
      },
      control: {
        value: 'ADDR',
        help: '127.0.0.1:PORT or unix:PATH: lists, adds, changes and removes proxies and faults',
      },
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
      up: { value: 'FAULTS', help: 'from the client to the server only, such as latency=100,slice=3' },
      down: { value: 'FAULTS', help: 'from the server to the client only' },
    }),
    seed: {
      value: 'N',
      help: 'the seed of all chance: the same seed does the same at the same bytes; default: a random one',
    },
    record: { value: 'FILE', help: 'records what was read, before the faults, for wirelab replay', complete: 'file' },
    limit: limitOptionOf(limits),
  },
  async run(args) {
    const options = faultOptions(args);
    const seed = args.integer('seed', 0, 2 ** 32 - 1) ?? Math.floor(Math.random() * 2 ** 32);
    const requests = await described(args, options);
    const alone = requests.length === 1 && requests[0]!.name === ALONE && args.text('control') === undefined;
    const { requestBytes, ...most } = limitsOf(args, limits);
    const control = args.text('control');
    const controlAddress = control === undefined ? undefined : checked(() => parseAddress(control));
    const begun = performance.now();
    const recorders = new Map<string, Recorder>();
    // The kernel reports a file size limit by a signal that would end us; with a listener the write fails instead.
    if (requests.some(({ record }) => record !== undefined)) process.on('SIGXFSZ', () => {});
    for (const { name, upstream, record } of requests) {
      if (record === undefined) continue;
      const stopped = (sentence: string) => say(`wirelab: ${sentence}`);
      recorders.set(name, new Recorder(record, { framing: 'raw' }, stopped, upstream));
    }
    const proxies = new Proxies({
      ...most,
      seed,
      onEvent(name, event) {
        recorders.get(name)?.see(event, performance.now() - begun);
        const line = describe(event);
        if (line !== undefined) say(alone ? line : `${name} ${line}`);
      },
    });
    const stopped = interrupted();
    try {
      for (const request of requests) {
        const { name, listen, seed: own, toxics } = await proxies.add(request);
        for (const fault of describeFaults(faultsOf(toxics))) {
          say(`${alone ? '' : `${name} `}${fault.name}: ${fault.description.en}`);
        }
        say(`${alone ? '' : `${name} `}seed ${own}`);
        await print(`listening ${listen}${alone ? '' : ` ${name}`}`);
      }
      await using socket =
        controlAddress && (await serveControl(proxies, controlAddress, { requestBytes, version: ourVersion() }));
      if (socket) await print(`control ${formatAddress(socket.address)}`);
      return await stopped;
    } finally {
      await proxies.close();
      for (const recorder of recorders.values()) recorder.close();
    }
  },
};

/** The faults of the options. */
function faultOptions(args: Arguments): DirectedFaultOptions {
  const options: DirectedFaultOptions = { halfClose: args.on('half-close') };
  for (const [name, rule] of Object.entries(FAULT_VALUES)) {
    if (!('least' in rule)) continue;
    const { key, least, most } = rule;
    options[key] = 'whole' in rule ? args.integer(name, least, most) : args.number(name, least, most);
  }
  for (const direction of ['up', 'down'] as const) {
    const words = args.texts(direction);
    if (words.length > 0) options[direction] = checked(() => readFaults(words.join(','), direction));
  }
  return options;
}

/** The proxies of the command line and of its file. */
async function described(args: Arguments, options: DirectedFaultOptions): Promise<ProxyRequest[]> {
  const [listen, to] = ['listen', 'to'].map((name) => args.text(name));
  const config = args.text('config');
  if ((listen === undefined) !== (to === undefined)) throw new UsageError('chaos takes --listen ADDR and --to ADDR');
  const requests: ProxyRequest[] = [];
  if (listen !== undefined && to !== undefined) {
    for (const address of [listen, to]) checked(() => parseAddress(address));
    const record = args.text('record');
    const toxics = toxicsOf(options).map((toxic) => ({ ...toxic }));
    requests.push({ name: ALONE, listen, upstream: to, toxics, ...(record !== undefined && { record }) });
  } else if (args.on('record')) {
    throw new UsageError(
      '--record is for --listen and --to: a proxy with a name has its own, NAME=LISTEN,TO,record=FILE',
    );
  }
  requests.push(...args.words.map((word) => checked(() => readProxyWord(word, options))));
  if (config !== undefined) requests.push(...(await readProxyFile(config)));
  if (requests.length === 0 && !args.on('control')) {
    throw new UsageError(
      'chaos takes --listen ADDR and --to ADDR, proxies as NAME=LISTEN,TO, --config FILE or --control ADDR',
    );
  }
  const twice = requests.find(({ name }, i) => requests.findIndex((each) => each.name === name) !== i);
  if (twice) throw new UsageError(`two proxies have the name "${twice.name}"`);
  return requests;
}

function ourVersion(): string {
  const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

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
