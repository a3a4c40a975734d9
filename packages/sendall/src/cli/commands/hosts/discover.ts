/** `sendall hosts discover`: who answers behind the broker, and which known hosts do not. */
import { UsageError } from '../../../errors.js';
import { resolveHome } from '../../../home.js';
import { AllHosts, NodeSet } from '../../../index.js';
import { discover, isNatsHost, natsHostOf, NO_ENGINE, readEngine, type Card } from '../../../internal.js';
import type { Arguments } from '../../words/command.js';
import { answer, json, table } from '../../show/print.js';
import { parseDuration } from '../../words/units.js';

/** Milliseconds, unless --wait says otherwise; and the most. */
const WAIT = 2000;
const LONGEST_WAIT = 60_000;

/** Known hosts are known by their keys. What a host calls itself is shown and decides nothing. */
export async function discoverHosts(args: Arguments, words: readonly string[]): Promise<number> {
  if (words.length) throw new UsageError('hosts discover takes no names: it lists the hosts that answer');
  const text = args.text('wait');
  const waitMs = text === undefined ? WAIT : parseDuration(text, '--wait');
  if (waitMs > LONGEST_WAIT) throw new UsageError('--wait: at most 60s');
  const home = resolveHome();
  const engine = readEngine(home);
  if (!engine) throw new UsageError(NO_ENGINE);
  const known = AllHosts.of(home)
    .list()
    .filter(({ pin }) => pin !== undefined);
  const names = new Map(known.map(({ name, pin }) => [pin!, name]));
  const { cards } = await discover(home, engine, waitMs);
  const sorted = [...cards].sort((a, b) => keyOf(a, names) - keyOf(b, names) || (a.name < b.name ? -1 : 1));
  const answered = new Set(cards.map(({ pin }) => pin));
  // A host with an address of its own may never have been behind this broker.
  const silent = known.filter(({ url, pin }) => isNatsHost(url) && !answered.has(pin!)).map(({ name }) => name);
  if (args.on('json')) {
    for (const { name, ...card } of sorted)
      json({ event: 'card', host: names.get(card.pin) ?? null, says: name, url: natsHostOf(card.pin), ...card });
    for (const host of silent) json({ event: 'silent', host });
    return 0;
  }
  if (!sorted.length) answer(`no host answered at ${engine.url}`);
  else
    await table([
      ['NAME', 'CALLS ITSELF', 'ADDRESS', 'KEY', 'VERSION'],
      ...sorted.map((card) => [names.get(card.pin) ?? '-', card.name, natsHostOf(card.pin), card.pin, card.version]),
    ]);
  if (silent.length) answer(`silent: ${new NodeSet(silent).toString()}`);
  return 0;
}

/** Known hosts first. */
const keyOf = ({ pin }: Card, names: ReadonlyMap<string, string>): number => (names.has(pin) ? 0 : 1);
