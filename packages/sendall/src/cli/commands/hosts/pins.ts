/** The keys of hosts that this user trusts: what each host must prove before anything is sent to it. */
import { UsageError } from '../../../errors.js';
import { resolveHome } from '../../../home.js';
import { AllHosts, KnownHosts } from '../../../index.js';
import { notAVerb, type Arguments, type Command } from '../../words/command.js';
import { answer, json, table } from '../../show/print.js';

const verbs = ['list', 'rm'];

export const pins: Command = {
  name: 'pins',
  usage: '[OPTIONS] list | rm NAME|KEY…',
  summary: 'list the pinned keys of hosts, or forget some',
  examples: ['sendall pins list', 'sendall pins rm web1'],
  options: { json: { help: 'one JSON object a line on stdout' } },
  subcommands: verbs,
  completeAfter: { rm: 'host' },
  async run(args) {
    const [verb = 'list', ...names] = args.words;
    if (verb === 'list') await list(args, names);
    else if (verb === 'rm') await remove(args, names);
    else throw notAVerb('pins', verb, verbs);
    return 0;
  },
};

async function list(args: Arguments, [extra]: readonly string[]): Promise<void> {
  if (extra !== undefined) throw new UsageError(`pins list takes no name, and "${extra}" is one`);
  const pinned = AllHosts.of(resolveHome())
    .list()
    .filter(({ pin }) => pin !== undefined);
  if (args.on('json')) for (const { name, url, pin, from } of pinned) json({ name, url, pin, from });
  else if (!pinned.length) answer('no key is pinned: sendall pair pins the key of a host');
  else
    await table([
      ['KEY', 'NAME', 'ADDRESS', 'FROM'],
      ...pinned.map((host) => [host.pin!, host.name, host.url, host.from.join(' ')]),
    ]);
}

/** A host in hosts.json is its address and its key: without the key, nothing is left that could be dialled. */
async function remove(args: Arguments, words: readonly string[]): Promise<void> {
  if (!words.length) throw new UsageError('pins rm needs a name or a key: see sendall pins list');
  const home = resolveHome();
  const known = KnownHosts.of(home);
  const named = words.map((word) => known.list().filter(({ name, pin }) => name === word || pin === word));
  const names = new Set(named.flatMap((hosts, i) => (hosts.length ? hosts.map(({ name }) => name) : [words[i]!])));
  for (const name of names) {
    const from = AllHosts.of(home).get(name)?.from ?? [];
    if (known.get(name) === undefined && from.length)
      throw new UsageError(`the key of ${name} stands in ${from.join(', ')}: take it out there`);
  }
  const removed = [...names].map((name) => ({ name, pin: known.get(name)?.pin }));
  await known.remove(...names);
  for (const { name, pin } of removed)
    if (args.on('json')) json({ removed: name, pin });
    else answer(`forgot ${name}, key ${pin}; to use it again: sendall pair`);
}
