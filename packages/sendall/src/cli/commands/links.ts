/** The warm-links process of this user, which starts on demand and ends when idle. */
import { UsageError } from '../../errors.js';
import { resolveHome } from '../../home.js';
import { askWarmLinks, openWarmLinks } from '../../internal.js';
import { notAVerb, type Arguments, type Command } from '../words/command.js';
import { answer, json } from '../show/print.js';
import { onSignal } from '../leaving/signals.js';
import { count, parseDuration } from '../words/units.js';

export const links: Command = {
  name: 'links',
  usage: '[OPTIONS] [stop | serve]',
  summary: 'show or close the warm links to hosts',
  examples: ['sendall links', 'sendall links stop'],
  options: {
    idle: { value: 'TIME', help: 'with serve: end after this time without callers (default 5m)' },
    json: { help: 'one JSON object a line on stdout' },
  },
  subcommands: ['stop', 'serve'],
  async run(args) {
    const [verb, extra] = args.words;
    if (extra !== undefined) throw new UsageError(`links does not know what "${extra}" means here`);
    if (verb !== undefined && !this.subcommands!.includes(verb)) throw notAVerb('links', verb, this.subcommands!);
    if (verb === 'serve') return await serve(args);
    if (verb === 'stop') await stop(args);
    else await status(args);
    return 0;
  },
};

const NONE = 'no process holds warm links: the next command to a host on the network starts one';

async function status(args: Arguments): Promise<void> {
  const said = await askWarmLinks(resolveHome(), 'status');
  if (args.on('json')) return json(said ?? { links: [] });
  if (!said) return answer(NONE);
  answer(`process ${said.pid}, version ${said.version}, holds ${count(said.links.length, 'link')}`);
  for (const { url, callers } of said.links) answer(`${url}  ${count(callers, 'caller')}`);
}

async function stop(args: Arguments): Promise<void> {
  const said = await askWarmLinks(resolveHome(), 'stop');
  if (said) await gone();
  if (args.on('json')) return json(said ?? { links: [] });
  answer(said ? `process ${said.pid} closes its links and ends` : NONE);
}

/** Waits until the old process is gone, so that the next command does not find it. */
async function gone(): Promise<void> {
  const until = performance.now() + 5000;
  while (performance.now() < until && (await askWarmLinks(resolveHome(), 'status').catch(() => undefined)))
    await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Serves in the foreground until idle or stopped. */
async function serve(args: Arguments): Promise<number> {
  const idle = args.text('idle');
  const held = await openWarmLinks(
    resolveHome(),
    idle === undefined ? {} : { idleExit: parseDuration(idle, '--idle') },
  );
  const end = () => void held.close();
  onSignal('SIGINT', end);
  onSignal('SIGTERM', end);
  onSignal('SIGHUP', () => undefined);
  await held.stopped;
  return 0;
}
