/** The hosts this user knows, and sets of them. */
import { UsageError } from '../../../errors.js';
import { resolveHome } from '../../../home.js';
import { AllHosts, KnownHosts, type ListedHost } from '../../../index.js';
import { canonicalNetworkUrl, FORMATS, resolveTargets } from '../../../internal.js';
import { notAVerb, under, type Arguments, type Command } from '../../words/command.js';
import { askEach } from '../../hosts/each-host.js';
import { EXIT } from '../../words/exit-codes.js';
import { answer, json, table } from '../../show/print.js';
import { reach, reachOptions, shareOf } from '../../hosts/reach.js';
import { discoverHosts } from './discover.js';
import { installOptions } from '../../install/options.js';
import { nodeset, nodesetOptions } from './nodeset.js';
import { isOneTarget } from '../../words/targets.js';

const inventoryOptions = under('Lists of hosts (import, export)', {
  from: { value: 'FORMAT', help: 'the format of the imported file (default: told by its content)', complete: FORMATS },
  as: { value: 'NAME', help: 'the name of the new file in hosts.d (default: that of the imported one)' },
  replace: { help: 'replace the file of this name in hosts.d' },
  exec: { value: 'PROGRAM', help: 'ask this program for hosts from now on', complete: 'file' },
  yaml: { help: 'with export: YAML (default)' },
});

const verbs: Readonly<Record<string, (args: Arguments, words: readonly string[]) => Promise<number>>> = {
  add,
  rm: remove,
  set,
  ping,
  nodeset,
  import: async (args, words) => (await import('./inventory.js')).importHosts(args, words),
  export: async (args, words) => (await import('./inventory.js')).exportHosts(args, words),
  discover: discoverHosts,
  install: async (args, words) =>
    await (await import('./install-hosts.js')).install(args, words, tagsOf(args.texts('tag'))),
  uninstall: async (args, words) => await (await import('./install-hosts.js')).uninstall(args, words),
};

export const hosts: Command = {
  name: 'hosts',
  usage: [
    '[OPTIONS] [add NAME URL --pin FP | rm NAME | set NAME K=V… | ping TARGETS | nodeset [EXPR…|-] | import FILE|- | export | discover]',
    'install [--name NAME] [--system] [--upgrade] [OPTIONS] [USER@]HOST… | uninstall [--runs] [--purge] TARGETS…',
  ],
  summary: 'list the known hosts, change the list, install agents by ssh, or work with sets of hosts',
  examples: [
    'sendall hosts',
    'sendall hosts set web1 role=frontend',
    'sendall hosts ping role=frontend',
    'sendall hosts import /etc/ansible/hosts',
    'sendall hosts import --exec ./cloud-hosts',
    'sendall hosts export --yaml',
    'sendall hosts discover --wait 5s',
    'sendall hosts install root@web1 --name web1 --system',
    'sendall hosts install --upgrade all',
    "sendall hosts nodeset 'web[01-04]!web02' --expand",
    "sendall hosts nodeset -e --split 3 'web[01-20]'",
    'cut -f1 inventory | sendall hosts nodeset --count -',
  ],
  options: {
    pin: { value: 'FP', help: 'with add: the fingerprint of the host’s key' },
    tag: { value: 'K=V', help: 'with add and install: a tag' },
    wait: { value: 'TIME', help: 'with discover: how long hosts may take to answer (default 2s)' },
    json: { help: 'one JSON object a line on stdout' },
    ...reachOptions,
    ...inventoryOptions,
    ...installOptions,
    ...nodesetOptions,
  },
  subcommands: Object.keys(verbs),
  complete: 'host',
  completeAfter: { import: 'file' },
  async run(args) {
    const [verb, ...words] = args.words;
    if (verb === undefined) return list(args);
    const action = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
    if (action) return await action(args, words);
    throw notAVerb('hosts', verb, Object.keys(verbs));
  },
};

function known(): KnownHosts {
  return KnownHosts.of(resolveHome());
}

function tagsText({ tags }: ListedHost): string {
  return Object.entries(tags)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ');
}

async function list(args: Arguments): Promise<number> {
  const all = AllHosts.of(resolveHome()).list();
  const machines = byMachine(all);
  const othersOf = (host: ListedHost) => machines.get(host)!.flatMap(({ name }) => (name === host.name ? [] : [name]));
  if (args.on('json')) for (const host of all) json({ ...host, pin: host.pin ?? null, sameMachineAs: othersOf(host) });
  else if (!all.length) answer('no hosts yet: "sendall pair --new" on the other machine shows how to add it');
  else {
    await table([
      ['NAME', 'ADDRESS', 'KEY', 'FROM', 'TAGS'],
      ...all.map((host) => [host.name, host.url, keyText(host), host.from.join(' '), tagsText(host)]),
    ]);
    for (const hosts of new Set(machines.values()))
      if (hosts.length > 1) answer(`one machine: ${hosts.map(({ name }) => name).join(', ')}`);
  }
  return 0;
}

/** For each host, all names of its machine: those with its key, or with the address of one that has it. */
function byMachine(hosts: readonly ListedHost[]): ReadonlyMap<ListedHost, readonly ListedHost[]> {
  const addressOf = ({ url }: ListedHost) => (url.startsWith('unix:') ? url : canonicalNetworkUrl(url));
  const pins = new Map(hosts.flatMap((host) => (host.pin === undefined ? [] : [[addressOf(host), host.pin]])));
  const machines = new Map<string, ListedHost[]>();
  const found = hosts.map((host): [ListedHost, ListedHost[]] => {
    const machine = host.pin ?? pins.get(addressOf(host)) ?? addressOf(host);
    const names = machines.get(machine) ?? [];
    names.push(host);
    machines.set(machine, names);
    return [host, names];
  });
  return new Map(found);
}

function keyText({ pin, url }: ListedHost): string {
  return pin ?? (url.startsWith('unix:') ? '-' : 'not paired');
}

function tagsOf(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=');
      if (at < 1) throw new UsageError(`"${word}" is not a tag: write KEY=VALUE`);
      return [word.slice(0, at), word.slice(at + 1)];
    }),
  );
}

async function add(args: Arguments, [name, url, ...more]: readonly string[]): Promise<number> {
  const pin = args.text('pin');
  if (name === undefined || url === undefined || pin === undefined || more.length)
    throw new UsageError(
      'hosts add needs a name, an address and a key: sendall hosts add web1 tls://HOST:PORT --pin SHA256:…',
    );
  const host = await known().add({ name, url, pin, tags: tagsOf(args.texts('tag')) });
  if (args.on('json')) json(host);
  return 0;
}

async function remove(_args: Arguments, names: readonly string[]): Promise<number> {
  if (!names.length) throw new UsageError('hosts rm needs a name: sendall hosts rm web1');
  for (const name of names) checkInOwnFile(name);
  await known().remove(...names);
  return 0;
}

async function set(_args: Arguments, [name, ...tags]: readonly string[]): Promise<number> {
  if (name === undefined || !tags.length)
    throw new UsageError('hosts set needs a name and tags: sendall hosts set web1 role=db');
  checkInOwnFile(name);
  await known().set(name, tagsOf(tags));
  return 0;
}

/** A host that only a file in hosts.d names is changed there. */
function checkInOwnFile(name: string): void {
  if (known().get(name)) return;
  const host = AllHosts.of(resolveHome()).lastKnown.get(name);
  if (host) throw new UsageError(`${name} is stated in ${host.from.join(' ')}: change it there`);
}

async function ping(args: Arguments, [targets, ...more]: readonly string[]): Promise<number> {
  if (targets === undefined || more.length)
    throw new UsageError('hosts ping needs one word of targets: sendall hosts ping all');
  if (isOneTarget(targets)) {
    await pingOne(targets, args);
    return 0;
  }
  const failed = await askEach(
    resolveTargets(targets),
    (name) => pingOne(name, args),
    args.on('json') ? (host, { message }) => json({ event: 'ping', host, ok: false, error: message }) : undefined,
  );
  return failed.length ? 1 : EXIT.ok;
}

async function pingOne(name: string, args: Arguments): Promise<void> {
  const before = performance.now();
  await using host = await reach(name, args, { ...shareOf(args), early: false });
  const connectMs = performance.now() - before;
  const { rttMs } = await host.ping();
  const { version, clockSkewMs } = host.info;
  if (args.on('json')) json({ event: 'ping', host: name, ok: true, rttMs, connectMs, version, clockSkewMs });
  else answer(`${name}: ${rttMs.toFixed(2)} ms, connected in ${connectMs.toFixed(1)} ms, version ${version}`);
}
