import { NodeSet } from 'sendall';
import { describe, expect, test } from 'vitest';
import { fleetLine } from '../../dist/cli/show/fleet/fleet-line.js';
import { PrefixedLines } from '../../dist/cli/show/prefixed-lines.js';
import { HostStates } from '../../dist/fleet/states.js';
import { Fifo } from '../../dist/client/streams/fifo.js';
import { workOf } from './work.js';

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
/** The same numbers, shuffled. */
const mixed = (count: number): number[] => numbers(count).map((i) => (i * 7919) % count);
const LF = Buffer.from('\n');

/** Possibly large inputs, and an operation on each. */
const works: [what: string, work: (size: number) => void][] = [
  ['a range is folded', (n) => void new NodeSet(`n[1-${n}]`).toString()],
  ['a range is written out', (n) => void [...new NodeSet(`n[1-${n}]`)]],
  ['names are folded', (n) => void new NodeSet(mixed(n).map((i) => `n${i}`)).toString()],
  ['names in two dimensions are folded', (n) => void new NodeSet(mixed(n).map((i) => `n${i % 97}r${i}`)).toString()],
  ['a full grid is folded', (n) => void new NodeSet(numbers(n).map((i) => `n${i % 50}r${i - (i % 50)}`)).toString()],
  [
    'many words are one set',
    (n) =>
      void new NodeSet(
        numbers(n)
          .map((i) => `n${i * 3}`)
          .join(),
      ).toString(),
  ],
  [
    'names are taken away one by one',
    (n) => void new NodeSet([`n[1-${n}]`, ...mixed(n).map((i) => `n${i}`)].join('!')),
  ],
  [
    'words are compared one by one',
    (n) => void new NodeSet([`n[1-${n}]`, ...numbers(n).map((i) => `n${i}`)].join('^')),
  ],
  [
    'sets are joined',
    (n) =>
      void new NodeSet(`n[1-${n}]`)
        .union(`n[${n / 2}-${2 * n}]`)
        .xor(`n[1-${n}]`)
        .toString(),
  ],
  ['a set is cut at its gaps', (n) => void new NodeSet(`n[1-${n}/2]`).contiguous()],
  ['a set is split', (n) => void new NodeSet(`n[1-${n}]`).split(n / 10)],
  ['places are taken', (n) => void new NodeSet(`n[1-${n}]`).slice(`0-${n}/2`).toString()],
  [
    'groups stand for groups',
    (n) => {
      const lookUp = (word: string) => (word === '@all' ? `@g[1-${n}]` : word[0] === '@' ? word.slice(1) : undefined);
      void new NodeSet('@all,@all', { lookUp }).toString();
    },
  ],
  [
    'hosts come through their states',
    (n) => {
      const names = numbers(n).map((i) => `n${i}`);
      const states = new HostStates(names);
      for (const name of names) states.reach(name, 'running');
      for (const name of names.slice(1)) states.end(name, { outcome: 'ok', ok: true, reason: '' });
      const progress = { total: n, started: n, running: 1, ok: n - 1, failed: 0, states: states.counts };
      void fleetLine({ states: states.all, progress, isLinked: () => true }, performance.now() + 60_000, 80);
    },
  ],
  [
    'a long line comes byte by byte',
    (n) => {
      const lines = new PrefixedLines('host', undefined);
      for (const _ of numbers(n)) lines.push('stdout', Buffer.of(0x78));
      lines.push('stdout', LF);
    },
  ],
];

describe('twice as much is about twice the work', () => {
  test.each(works)('when %s', (_what, work) => {
    const small = workOf(() => work(4000));
    const large = workOf(() => work(8000));
    expect(small).toBeGreaterThan(4000);
    expect(large / small).toBeLessThan(2.3);
  });
});

test('a queue returns its items in order, however pushes and shifts are mixed', () => {
  const queue = new Fifo<number>();
  const taken: (number | undefined)[] = [];
  for (const i of numbers(100)) {
    queue.push(2 * i);
    queue.push(2 * i + 1);
    taken.push(queue.shift());
  }
  expect(queue.size).toBe(100);
  while (queue.size) taken.push(queue.shift());
  expect(taken).toEqual(numbers(200));
  expect(queue.shift()).toBeUndefined();
  queue.push(1);
  queue.clear();
  expect([queue.size, queue.shift()]).toEqual([0, undefined]);
});
