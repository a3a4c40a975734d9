/** `hosts nodeset`: counts, folds, expands and splits sets of host names, and lists their groups. */
import { createInterface } from 'node:readline';
import { UsageError } from '../../../errors.js';
import { NodeSet, type NodeSetOptions } from '../../../index.js';
import { checkSize, HostWords } from '../../../internal.js';
import { started } from '../../../started.js';
import { answer, answerWords, json } from '../../show/print.js';
import { under, type Arguments } from '../../words/command.js';
import { isOneTarget } from '../../words/targets.js';

export const nodesetOptions = under('Sets (nodeset)', {
  fold: { short: 'f', help: 'the shortest notation (default)' },
  expand: { short: 'e', help: 'one name a line' },
  count: { short: 'c', help: 'the number of names' },
  list: {
    short: 'l',
    help: 'the groups with hosts of the set, or all groups; -ll: with the hosts, -lll: and their number',
  },
  separator: { short: 'S', value: 'TEXT', help: 'separator of --expand, also \\n and \\t (default: a newline)' },
  slice: { short: 'I', value: 'PLACES', help: 'only the names at these places, counted from 0: 0, 1-9/2,16' },
  split: { value: 'N', help: 'N parts of equal size, one a line' },
  contiguous: { help: 'parts without gaps in their numbers, one a line' },
  'max-size': { value: 'N', help: 'most names in a set (maxSize, default: 100000)' },
});

/** Options that exclude each other. */
const APART = [
  ['fold', 'expand', 'count', 'list'],
  ['split', 'contiguous'],
];

export async function nodeset(args: Arguments, words: readonly string[]): Promise<number> {
  for (const names of APART) {
    const [one, other] = names.filter((name) => args.on(name));
    if (other) throw new UsageError(`--${one} and --${other} contradict each other: leave one out`);
  }
  if (args.on('separator') && !args.on('expand')) throw new UsageError('--separator needs --expand: add -e');
  const hosts = new HostWords();
  if (!words.length && args.on('list')) listGroups(args, hosts);
  else {
    const options = { maxSize: numberOf(args, 'max-size') ?? 100_000, lookUp: hosts.lookUp };
    const set = await read(words, options);
    if (args.on('list')) listGroups(args, hosts, set);
    else for (const part of partsOf(set, args)) print(part, args);
  }
  return 0;
}

async function read(words: readonly string[], options: NodeSetOptions): Promise<NodeSet> {
  if (!words.length)
    throw new UsageError(
      "hosts nodeset needs an expression: sendall hosts nodeset 'web[01-20]!web07', or - for names from stdin",
    );
  const text = words.join(',');
  if (!/(^|[\s,!&^])-($|[\s,!&^])/.test(text)) return new NodeSet(text, options);
  const given = await namesFromStdin(options);
  return new NodeSet(text, { ...options, lookUp: (word) => (word === '-' ? given : options.lookUp?.(word)) });
}

/** The union of the sets on stdin, separated by blanks or newlines; `#` starts a comment. */
async function namesFromStdin(options: NodeSetOptions): Promise<ReadonlySet<string>> {
  if (started().closed.has(0)) throw new UsageError('our stdin is closed: give it names, one a line');
  const names = new Set<string>();
  let line = 0;
  for await (const text of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    line++;
    try {
      for (const [word] of text.replace(/#.*/, '').matchAll(/(?:\[[^\][]*\]|\S)+/g))
        if (isOneTarget(word)) names.add(word);
        else for (const name of new NodeSet(word, options)) names.add(name);
      checkSize(names.size, options);
    } catch (error) {
      if (error instanceof UsageError) throw new UsageError(`line ${line} of stdin: ${error.message}`);
      throw error;
    }
  }
  return names;
}

function partsOf(set: NodeSet, args: Arguments): NodeSet[] {
  const places = args.text('slice');
  const part = places === undefined ? set : set.slice(places);
  const parts = numberOf(args, 'split');
  if (!part.size) return [part];
  if (parts !== undefined) return part.split(parts);
  return args.on('contiguous') ? part.contiguous() : [part];
}

function print(set: NodeSet, args: Arguments): void {
  if (args.on('json')) json({ nodeset: String(set), size: set.size, hosts: [...set] });
  else if (args.on('count')) answer(String(set.size));
  else if (args.on('expand')) answerWords(set, separatorOf(args));
  else answer(String(set));
}

function separatorOf(args: Arguments): string {
  const isInParts = args.on('split') || args.on('contiguous');
  const escapes: Record<string, string> = { n: '\n', t: '\t', '\\': '\\' };
  // A part is one line.
  return (args.text('separator') ?? (isInParts ? ' ' : '\\n')).replace(
    /\\([nt\\])/g,
    (_, char: string) => escapes[char]!,
  );
}

/** Prints each group; -ll adds its hosts in the set, -lll their number and the number of all. */
function listGroups(args: Arguments, hosts: HostWords, set?: NodeSet): void {
  for (const group of hosts.groups()) {
    const all = new NodeSet(group, { lookUp: hosts.lookUp });
    const inside = set ? all.intersect(set) : all;
    if (!inside.size) continue;
    const count = set ? `${inside.size}/${all.size}` : String(all.size);
    if (args.on('json')) json({ group, nodeset: String(inside), size: inside.size, of: all.size, hosts: [...inside] });
    else answer([group, String(inside), count].slice(0, args.times('list')).join(' '));
  }
}

function numberOf(args: Arguments, name: string): number | undefined {
  const text = args.text(name);
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new UsageError(`--${name}: "${text}" is not a number of 1 or more`);
  return Number(text);
}
