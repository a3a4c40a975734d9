/** The hosts this user knows. */
import { connect, KnownHosts, resolveHome, UsageError } from '../../index.js';
import type { Arguments, Command } from '../command.js';
import { answer, json, table } from '../print.js';

export const hosts: Command = {
  name: 'hosts',
  usage: '[add NAME URL --pin FP | rm NAME | set NAME K=V | ping TARGET]',
  summary: 'list the hosts that are known here, or change the list',
  example: 'sendall hosts set web1 role=frontend',
  options: {
    pin: { value: 'FP', help: 'with add: the fingerprint of the host’s key' },
    tag: { value: 'K=V', many: true, help: 'with add: a tag' },
    json: { help: 'one JSON object a line on stdout' },
  },
  subcommands: ['add', 'rm', 'set', 'ping'],
  complete: 'host',
  async run(args) {
    const known = new KnownHosts(resolveHome());
    const [verb, name, value] = args.words;
    if (verb === undefined) return await list(known, args);
    if (name === undefined) throw new UsageError(`hosts ${verb} needs a name`);
    if (verb === 'add') {
      const pin = args.text('pin');
      if (value === undefined || pin === undefined)
        throw new UsageError(
          'hosts add needs an address and a key: sendall hosts add web1 tls://HOST:PORT --pin SHA256:…',
        );
      await known.add({ name, url: value, pin, tags: tagsOf(args.texts('tag')) });
    } else if (verb === 'rm') await known.remove(name);
    else if (verb === 'set') await known.set(name, tagsOf(args.words.slice(2)));
    else if (verb === 'ping') return await ping(name, args);
    else throw new UsageError(`hosts has no verb "${verb}": it has add, rm, set and ping`);
    return 0;
  },
};

function tagsOf(words: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    words.map((word) => {
      const at = word.indexOf('=');
      if (at < 1) throw new UsageError(`"${word}" is not a tag: write KEY=VALUE`);
      return [word.slice(0, at), word.slice(at + 1)];
    }),
  );
}

async function list(known: KnownHosts, args: Arguments): Promise<number> {
  const all = known.list();
  if (args.on('json')) for (const host of all) json(host);
  else if (!all.length) answer('no hosts yet: "sendall pair --new" on the other machine shows how to add it');
  else {
    const rows = all.map(({ name, url, pin, tags }) => [
      name,
      url,
      pin,
      Object.entries(tags ?? {})
        .map(([key, value]) => `${key}=${value}`)
        .join(' '),
    ]);
    process.stdout.write(`${table([['NAME', 'ADDRESS', 'KEY', 'TAGS'], ...rows])}\n`);
  }
  return 0;
}

async function ping(name: string, args: Arguments): Promise<number> {
  const before = performance.now();
  await using host = await connect(name);
  const connectMs = performance.now() - before;
  const { rttMs } = await host.ping();
  const { version, clockSkewMs } = host.info;
  if (args.on('json')) json({ event: 'ping', host: name, rttMs, connectMs, version, clockSkewMs });
  else answer(`${name}: ${rttMs.toFixed(2)} ms, connected in ${connectMs.toFixed(1)} ms, version ${version}`);
  return 0;
}
