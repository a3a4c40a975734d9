/** The keys by which hosts know this user: its own, and others by name, for a robot or another role. */
import { UsageError } from '../../../errors.js';
import { resolveHome } from '../../../home.js';
import { KnownHosts, NodeSet } from '../../../index.js';
import { DEFAULT_IDENTITY, identityNames, loadIdentity, newNamedIdentity, removeIdentity } from '../../../internal.js';
import { notAVerb, type Arguments, type Command } from '../../words/command.js';
import { answer, json, table } from '../../show/print.js';

const verbs: Readonly<Record<string, (args: Arguments, name: string) => Promise<void>>> = { new: add, rm: remove };

export const identity: Command = {
  name: 'identity',
  usage: '[OPTIONS] [new NAME | rm NAME]',
  summary: 'list the keys by which hosts know you, or make another one',
  examples: [
    'sendall identity',
    'sendall identity new ci',
    'sendall --identity ci pair tls://web1.example:7433 --code - --name web1',
    'sendall --identity ci run web1 -- uptime',
  ],
  options: { json: { help: 'one JSON object a line on stdout' } },
  subcommands: Object.keys(verbs),
  completeAfter: { rm: 'identity' },
  async run(args) {
    const [verb, name, extra] = args.words;
    if (verb === undefined) await list(args);
    else {
      const action = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
      if (!action) throw notAVerb('identity', verb, Object.keys(verbs));
      if (name === undefined || extra !== undefined)
        throw new UsageError(`identity ${verb} takes one name: sendall identity ${verb} ci`);
      await action(args, name);
    }
    return 0;
  },
};

/** The hosts that each identity has paired with. */
function hostsOf(name: string): string[] {
  return KnownHosts.of(resolveHome())
    .list()
    .filter(({ identities = [DEFAULT_IDENTITY] }) => identities.includes(name))
    .map((host) => host.name);
}

async function list(args: Arguments): Promise<void> {
  const home = resolveHome();
  const rows: [name: string, fingerprint: string, hosts: string[]][] = [];
  for (const name of identityNames(home))
    rows.push([name, (await loadIdentity(home, { name })).fingerprint, hostsOf(name)]);
  if (args.on('json')) for (const [name, fingerprint, hosts] of rows) json({ name, fingerprint, hosts });
  else if (!rows.length) answer('there is no key yet: sendall agent or sendall pair makes it');
  else
    await table([
      ['NAME', 'KEY', 'PAIRED WITH'],
      ...rows.map(([name, key, hosts]) => [name, key, hosts.length ? new NodeSet(hosts).toString() : '-']),
    ]);
}

async function add(args: Arguments, name: string): Promise<void> {
  const { fingerprint } = await newNamedIdentity(resolveHome(), name);
  if (args.on('json')) json({ name, fingerprint });
  else answer(`made ${name}, key ${fingerprint}; pair it: sendall --identity ${name} pair URL --code CODE --name NAME`);
}

async function remove(args: Arguments, name: string): Promise<void> {
  const home = resolveHome();
  const { fingerprint } = await loadIdentity(home, { name });
  removeIdentity(home, name);
  const hosts = await KnownHosts.of(home).forgetIdentity(name);
  if (args.on('json')) json({ removed: name, fingerprint, hosts });
  else {
    answer(`removed ${name}`);
    if (hosts.length)
      answer(`${new NodeSet(hosts).toString()} still let its key in; there: sendall pair --remove ${fingerprint}`);
  }
}
