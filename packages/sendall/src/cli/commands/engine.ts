/** The broker through which this user's commands reach hosts without an address of their own. */
import { UsageError } from '../../errors.js';
import { resolveHome } from '../../home.js';
import { completeEngine, discover, readEngine, removeEngine, writeEngine, type EngineStatus } from '../../internal.js';
import { engineFilesOf, engineOptions } from '../words/engine-options.js';
import type { Arguments, Command } from '../words/command.js';
import { answer, json } from '../show/print.js';
import { count } from '../words/units.js';

/** Milliseconds for hosts to answer. */
const WAIT = 1000;

export const engine: Command = {
  name: 'engine',
  usage: '[OPTIONS] [nats://HOST:PORT,…[/FLEET]]',
  summary: 'show, set or leave the broker (nats-server) through which hosts are reached',
  examples: ['sendall engine nats://n1,n2,n3 --creds ~/.sendall.creds', 'sendall engine', 'sendall engine --off'],
  options: {
    off: { help: 'forget the broker' },
    json: { help: 'one JSON object a line on stdout' },
    ...engineOptions,
  },
  async run(args) {
    const [url, extra] = args.words;
    if (extra !== undefined) throw new UsageError('engine takes one address: write its servers with commas between');
    if (args.on('off')) return off(args, url);
    if (url !== undefined) await set(args, url);
    else if (Object.keys(engineFilesOf(args)).length)
      throw new UsageError('files for the broker belong to its address: sendall engine nats://HOST:PORT --creds FILE');
    await show(args);
    return 0;
  },
};

function off(args: Arguments, url: string | undefined): number {
  if (url !== undefined) throw new UsageError('--off takes no address: it forgets the broker');
  const known = removeEngine(resolveHome());
  if (args.on('json')) json({ url: null });
  else answer(known ? 'the broker is forgotten' : 'no broker was set up');
  return 0;
}

/** A broker that cannot be used is not remembered. */
async function set(args: Arguments, url: string): Promise<void> {
  const home = resolveHome();
  const engine = completeEngine({ url, ...engineFilesOf(args) });
  await discover(home, engine, 0);
  await writeEngine(home, engine);
}

async function show(args: Arguments): Promise<void> {
  const home = resolveHome();
  const engine = readEngine(home);
  if (!engine) {
    if (args.on('json')) json({ url: null });
    else answer('no broker is set up: sendall engine nats://HOST:PORT sets one up');
    return;
  }
  const status = await discover(home, engine, WAIT);
  if (args.on('json')) json(asJson(status));
  else {
    answer(`engine ${status.url}, at ${status.server}, nats-server ${status.version}`);
    answer(`your id ${status.id}`);
    answer(`round trip ${status.roundTripMs.toFixed(2)} ms, ${count(status.cards.length, 'host')} seen`);
  }
}

const asJson = ({ cards, ...status }: EngineStatus): object => ({ ...status, hosts: cards.length });
